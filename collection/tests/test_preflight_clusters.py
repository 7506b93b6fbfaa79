"""A preflight checks sites on clusters in the inventory, and connects to none."""

import pytest
import yaml
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.bundle import (
    configuration_problems,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.clusters import (
    cluster_problems,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.files import file_problems
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.topology import (
    topology_problems,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.values import (
    consistency_problems,
)
from preflight_run import Directory, inventory

US = {"registry_site": "us", "registry_storage_preference": ["usstorage", "eustorage"]}
EU = {
    "site_platform": "kubernetes",
    "registry_site": "eu",
    "registry_storage_preference": ["eustorage", "usstorage"],
}


def mixed(cluster=None, host=None, **groups):
    sites = {"us-1": US | (host or {})}
    return inventory(atoll_sites=sites, atoll_kubernetes={"eu": EU | (cluster or {})}, **groups)


def problems(check, given):
    return [(one["id"], one["host"], one["severity"]) for one in check(given)]


def test_a_registry_of_hosts_and_clusters_has_no_problem():
    assert problems(cluster_problems, mixed()) == []
    assert problems(topology_problems, mixed()) == []


def test_a_cluster_is_a_site():
    alone = inventory(atoll_kubernetes={"eu": EU})
    balancers = {"lb-eu": {"load_balancer_site": "eu"}, "lb-ap": {"load_balancer_site": "ap"}}

    assert problems(topology_problems, alone) == []
    assert [one["host"] for one in topology_problems(mixed(atoll_load_balancer=balancers))] == [
        "lb-ap"
    ]


def test_an_inventory_without_any_site_is_an_error():
    assert problems(topology_problems, inventory()) == [("no-site", "controller", "error")]


@pytest.mark.parametrize("platform", ["kubernetes", "openshift"])
def test_a_host_of_the_other_groups_cannot_be_a_cluster(platform):
    (found,) = cluster_problems(mixed(host={"site_platform": platform}))

    assert (found["id"], found["host"]) == ("site-platform", "us-1")
    assert "Move the site to the group atoll_kubernetes" in found["remedy"]


@pytest.mark.parametrize("platform", ["", "vm"])
def test_a_host_in_the_group_of_clusters_must_be_one(platform):
    (found,) = cluster_problems(mixed({"site_platform": platform}))

    assert (found["id"], found["host"]) == ("site-platform", "eu")
    assert "Set site_platform to kubernetes" in found["remedy"]


def test_the_group_of_clusters_cannot_be_a_child_of_atoll():
    given = inventory(atoll_sites={"us-1": US}, atoll={"eu": EU}, atoll_kubernetes={"eu": EU})

    assert ("site-platform", "eu", "error") in problems(cluster_problems, given)


@pytest.mark.parametrize("name", ["us", "eu"])
def test_a_site_on_a_cluster_has_a_name_of_its_own(name):
    clusters = {"eu": EU, "other": EU | {"registry_site": name}}
    given = inventory(atoll_sites={"us-1": US}, atoll_kubernetes=clusters)

    (found,) = cluster_problems(given)

    assert (found["id"], found["host"]) == ("site-duplicate", "other")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"registry_site": ""}, "registry_site is not set."),
        ({"registry_storage_preference": []}, "contains no location"),
        ({"registry_storage_preference": "eustorage"}, "contains no location"),
        ({"kubernetes_address": "https://eu.test"}, "neither an IP address nor a host name"),
        ({"kubernetes_address": "10.1.2"}, "neither an IP address nor a host name"),
        ({"kubernetes_address": "2001:db8::1"}, "neither an IP address nor a host name"),
        ({"kubernetes_address": "10.1.2.3", "kubernetes_https_port": 0}, "not a port"),
        ({"kubernetes_address": "10.1.2.3", "kubernetes_https_port": "https"}, "not a port"),
    ],
)
def test_a_wrong_value_is_an_error_that_names_it(change, expected):
    (found,) = cluster_problems(mixed(change))

    assert expected in found["problem"]
    assert found["severity"] == "error"


@pytest.mark.parametrize("address", ["10.1.2.3", "[2001:db8::1]", "eu-1.elb.test", "registry"])
def test_an_address_is_an_ip_address_or_a_name(address):
    balancers = {"lb-us": {"load_balancer_site": "us"}}
    given = mixed({"kubernetes_address": address}, atoll_load_balancer=balancers)

    assert problems(cluster_problems, given) == []


def test_a_cluster_without_an_address_is_a_warning_if_there_are_load_balancers():
    balancers = {"lb-us": {"load_balancer_site": "us"}}

    assert problems(cluster_problems, mixed(atoll_load_balancer=balancers)) == [
        ("cluster-not-balanced", "eu", "warning")
    ]


def test_a_cluster_that_writes_to_the_location_of_another_site_is_a_warning():
    given = mixed({"registry_storage_preference": ["usstorage"]})

    assert problems(topology_problems, given) == [("location-shared", "eu", "warning")]


def test_a_load_balancer_that_a_cluster_does_not_trust_is_a_warning():
    balancers = {"lb-us": {"load_balancer_site": "us", "ansible_host": "10.1.0.20"}}
    trusting = {"registry_config": {"TRUSTED_PROXIES": ["10.1.0.20"]}}
    given = mixed({"registry_config": {}}, trusting, atoll_load_balancer=balancers)

    assert problems(consistency_problems, given) == [("trusted-proxies", "eu", "warning")]


def test_the_bundle_of_a_cluster_is_checked_and_compared_with_that_of_hosts(example):
    config = {"registry_config": example}
    other = {"registry_config": example | {"SUPER_USERS": ["another"]}}
    invalid = {"registry_config": example | {"DISTRIBUTED_STORAGE_CONFIG": {}}}

    assert problems(configuration_problems, mixed(config, config)) == []
    assert problems(configuration_problems, mixed(other, config)) == [
        ("bundle-differs", "eu", "error")
    ]
    assert ("bundle-invalid", "eu", "error") in problems(
        configuration_problems, mixed(invalid, config)
    )


def test_a_file_of_a_cluster_that_does_not_exist_is_an_error(tmp_path):
    given = mixed({"registry_tls_certificate_file": str(tmp_path / "registry.crt")})

    assert problems(file_problems, given) == [("file-missing", "eu", "error")]


@pytest.fixture
def directory(tmp_path):
    return Directory.example(tmp_path)


def add_clusters(directory, *, only=False):
    """Move the site eu of the example to a cluster, or both sites."""
    path = directory.folder / "hosts.yml"
    hosts = yaml.safe_load(path.read_text())
    children = hosts["all"]["children"]
    sites = children["atoll"]["children"]["atoll_sites"]["children"]
    moved = {}
    for name in ("us", "eu") if only else ("eu",):
        variables = sites.pop(name)["vars"] | {"site_platform": "kubernetes"}
        moved[f"{name}-cluster"] = variables
    variables = {
        name: value
        for file in ("images", "tls")
        for name, value in yaml.safe_load(
            (directory.folder / f"group_vars/atoll/{file}.yml").read_text()
        ).items()
    }
    children["atoll_kubernetes"] = {"hosts": moved, "vars": variables}
    path.write_text(yaml.safe_dump(hosts))


@pytest.mark.parametrize("only", [False, True])
def test_no_playbook_of_the_preflight_connects_to_a_cluster(directory, only):
    add_clusters(directory, only=only)
    # Connections fail at once, because the port refuses them.
    refused = ["-e", "ansible_host=127.0.0.1", "-e", "ansible_port=1", "-e", "ansible_user=nobody"]

    outcome = directory.preflight(*refused, playbook="preflight")

    unreachable = {
        item["host"] for item in outcome.report["problems"] if item["id"] == "host-unreachable"
    }
    assert "shared-1.example.org" in unreachable
    assert not {name for name in unreachable if "cluster" in name}
    assert "no-site" not in outcome.ids
    assert {name for name in outcome.report["hosts"] if "cluster" in name} == (
        {"us-cluster", "eu-cluster"} if only else {"eu-cluster"}
    )


def test_a_registry_without_any_machine_is_validated(directory):
    add_clusters(directory, only=True)
    path = directory.folder / "hosts.yml"
    hosts = yaml.safe_load(path.read_text())
    del hosts["all"]["children"]["atoll"]
    hosts["all"]["children"]["atoll_kubernetes"]["hosts"]["eu-cluster"]["site_platform"] = "vm"
    path.write_text(yaml.safe_dump(hosts))

    for playbook in ("validate", "preflight"):
        outcome = directory.preflight(playbook=playbook)

        assert outcome.status != 0
        assert "site-platform" in outcome.errors()
