"""Sites on clusters are known by their variables and by what their instances report."""

import json

import pytest
import yaml
from ansible_collections.atoll.registry.plugins.filter.bundle import (
    bundle_fingerprint,
    bundle_for_hosts,
)
from ansible_collections.atoll.registry.plugins.filter.clusters import (
    cluster_reports,
    cluster_sites,
)
from ansible_collections.atoll.registry.plugins.module_utils.registry_command import CommandError
from ansible_collections.atoll.registry.plugins.modules.instance_info import read_instances
from atoll.config import load
from atoll.config.fingerprint import combined

GROUPS = {"atoll_sites": ["us-1"], "atoll_kubernetes": ["eu-cluster"]}
BUNDLE = {"FEATURE_STORAGE_REPLICATION": True}
CLUSTER = {
    "site_platform": "kubernetes",
    "registry_site": "eu",
    "registry_storage_preference": ["eustorage", "usstorage"],
    "registry_config": BUNDLE,
}


def hostvars(**variables):
    return {"us-1": {"registry_site": "us"}, "eu-cluster": CLUSTER | variables}


def instance(hostname, role="registry", site="eu", **changes):
    return {
        "hostname": hostname,
        "role": role,
        "version": "0.2.0",
        "preference": [f"{site}storage"],
        "bundle": "new",
        "lost": False,
        "stores": {name: {"up": True, "cause": None} for name in ("usstorage", "eustorage")},
    } | changes


PODS = [instance("pod-1"), instance("pod-2", "replication")]


def report(*instances, bundles=("new",), location="", **variables):
    reported = {"version": "0.2.0", "instances": [instance("us-1", site="us"), *instances]}
    (found,) = cluster_reports({}, GROUPS, hostvars(**variables), reported, bundles, location)
    return found


def test_an_inventory_without_clusters_has_none():
    groups = {"atoll_sites": ["us-1"]}

    assert cluster_sites({}, groups, hostvars()) == []
    assert cluster_reports({}, groups, hostvars(), {}, []) == []


def test_a_cluster_has_the_defaults_of_its_role():
    (found,) = cluster_sites({}, GROUPS, hostvars())

    assert found["namespace"] == "atoll"
    assert found["directory"] == "build/kubernetes/eu"
    assert found["deployments"] == {
        "atoll-registry": "registry",
        "atoll-replication": "replication",
    }
    assert (found["site"], found["location"], found["address"]) == ("eu", "eustorage", "")


def test_a_cluster_has_the_names_that_the_inventory_sets():
    (found,) = cluster_sites(
        {},
        GROUPS,
        hostvars(
            kubernetes_name="quay",
            kubernetes_namespace="images",
            kubernetes_directory="/srv/manifests/",
            kubernetes_address="198.51.100.40",
            kubernetes_https_port="8443",
            registry_config={"FEATURE_REPO_MIRROR": True},
        ),
    )

    assert found["namespace"] == "images"
    assert found["directory"] == "/srv/manifests/eu"
    assert list(found["deployments"]) == ["quay-registry", "quay-mirror"]
    assert (found["address"], found["port"]) == ("198.51.100.40", 8443)


def test_instances_with_the_bundle_and_the_version_of_the_hosts_are_no_problem():
    found = report(*PODS)

    assert found["problems"] == []
    assert [one["hostname"] for one in found["instances"]] == ["pod-1", "pod-2"]
    assert found["usable"] is True


def test_a_cluster_without_running_instances_is_a_problem():
    lost = instance("pod-1", lost=True)

    assert report(lost)["problems"] == ["no instance is running"]
    assert report(lost)["instances"] == []


def test_a_deployment_without_instances_is_named():
    assert report(PODS[0])["problems"] == ["no instance of atoll-replication is running"]


def test_an_instance_with_another_bundle_is_named():
    (problem,) = report(*PODS, instance("pod-3", bundle="old"))["problems"]

    assert problem == "another bundle than the inventory's is loaded by pod-3"
    assert report(*PODS, instance("pod-3", bundle="old"), bundles=["new", "old"])["problems"] == []


def test_an_instance_with_another_version_is_named_with_it():
    (problem,) = report(*PODS, instance("pod-3", version="0.1.0"))["problems"]

    assert problem == "another version than that of the hosts (0.2.0) runs: pod-3 (0.1.0)"


def test_an_instance_whose_bundle_is_not_reported_is_a_problem():
    silent = {key: value for key, value in instance("pod-3").items() if key != "bundle"}

    assert "upgrade the hosts first" in " ".join(report(*PODS, silent)["problems"])


def test_an_instance_that_cannot_use_a_store_is_named_with_the_cause():
    down = instance("pod-3", stores={"apstorage": {"up": False, "cause": "refused"}})
    known = instance("pod-4", "replication", stores={"apstorage": {"up": True, "cause": None}})

    assert report(down, known, location="apstorage")["problems"] == [
        "pod-3 cannot use the store of apstorage: refused"
    ]
    assert report(*PODS, location="apstorage")["problems"] == [
        "pod-1 does not have the location apstorage",
        "pod-2 does not have the location apstorage",
    ]


@pytest.mark.parametrize("reported", [{}, {"failed": True, "msg": "no container"}, None])
def test_instances_that_are_unknown_count_as_a_problem(reported):
    (found,) = cluster_reports({}, GROUPS, hostvars(), reported, ["new"])

    assert found["known"] is False
    assert found["problems"] == ["no host of a site reports its instances"]


def test_the_fingerprint_of_the_inventory_is_that_of_instances_with_its_bundle(example, tmp_path):
    content = yaml.safe_dump(bundle_for_hosts(example), sort_keys=False)
    (tmp_path / "config.yaml").write_text(content)
    environment = {"QUAY_DISTRIBUTED_STORAGE_PREFERENCE": "eustorage,usstorage"}

    loaded = load(environment, tmp_path)

    assert bundle_fingerprint(example) == combined(loaded.fingerprint)
    example["REGISTRY_TITLE"] = "another"
    assert bundle_fingerprint(example) != combined(loaded.fingerprint)


class Host:
    """The commands of a host."""

    def __init__(self, code=0):
        self.params = {"container": "atoll-registry"}
        self.code = code

    def exec(self, _container, _program, *words):
        if words == ("--version",):
            return 0, "atoll 0.2.0\n", ""
        assert words == ("status", "--json")
        text = json.dumps({"instances": PODS, "locations": [], "problems": ["a copy is late"]})
        return self.code, text, ""


@pytest.mark.usefixtures("commands")
def test_the_instances_are_read_although_the_registry_has_problems():
    assert read_instances(Host(1)) == {"version": "0.2.0", "instances": PODS}


@pytest.mark.usefixtures("commands")
def test_a_failed_command_is_no_proof():
    with pytest.raises(CommandError):
        read_instances(Host(2))
