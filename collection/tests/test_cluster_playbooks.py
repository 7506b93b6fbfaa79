"""Playbooks change hosts, never clusters, and name the commands of kubectl that are left."""

import json

import pytest
from ansible_collections.atoll.registry.plugins.filter.bundle import (
    bundle_fingerprint,
    bundle_without_location,
)
from recorded_playbook import LOCAL, RecordedPlaybook

BALANCER = "atoll.registry.load_balancer:main"
BUNDLE = "atoll.registry.registry:bundle"
LOCATION = "atoll.registry.location"
REGISTRY = "atoll.registry.registry:main"
RENDER = "atoll.registry.kubernetes:main"
READ = "atoll.registry.instance_info"
STOP = "atoll.registry.service"
# The summary at the end of a rollout needs the results of the replaced modules.
CHECK = ["--check"]


@pytest.fixture
def playbook(root, tmp_path):
    return RecordedPlaybook(root, tmp_path)


@pytest.fixture
def mixed(groups):
    """Return the inventory with the site eu on a cluster, which no connection can reach."""
    (variables, _) = groups["atoll_sites"].pop("eu-1"), groups["atoll_sites"].pop("eu-2")
    groups["atoll_kubernetes"] = {"eu-cluster": cluster(variables)}
    return groups


def cluster(variables, **changes):
    """Return the variables of a cluster, to which each connection fails."""
    kept = {key: value for key, value in variables.items() if key != "ansible_connection"}
    unreachable = {"ansible_host": "127.0.0.1", "ansible_port": 1, "ansible_connection": "ssh"}
    return kept | {"site_platform": "kubernetes"} | unreachable | changes


def site(example, name, *others):
    return LOCAL | {
        "registry_site": name,
        "registry_storage_preference": [f"{name}storage", *(f"{one}storage" for one in others)],
        "registry_hostname": "registry.example.com",
        "registry_config": example,
    }


def pod(site, role, bundle, **changes):
    stores = ("usstorage", "eustorage", "apstorage")
    return {
        "hostname": f"{site}-{role}-pod",
        "role": role,
        "version": "0.2.0",
        "preference": [f"{site}storage"],
        "bundle": bundle_fingerprint(bundle),
        "lost": False,
        "stores": {name: {"up": True, "cause": None} for name in stores},
    } | changes


def pods(site, bundle, **changes):
    return [pod(site, role, bundle, **changes) for role in ("registry", "replication")]


def read(*instances):
    """Return the result of instance_info, as an extra variable."""
    return {"clusters_read": {"version": "0.2.0", "instances": list(instances)}}


def actions(records, host=None):
    return [action for name, action, _ in records if host in (None, name)]


def changed(records):
    """Return the actions that may change a host."""
    read_only = (READ, "atoll.registry.location_info")
    return [(host, action) for host, action, _ in records if action not in read_only]


# site.yml


def test_a_rollout_changes_hosts_and_ends_with_the_commands_for_each_cluster(
    playbook, mixed, example
):
    status, records = playbook.run("site", mixed, *CHECK, **read(*pods("eu", example)))

    assert status == 0, playbook.output
    assert [host for host, action, _ in records if action == REGISTRY] == ["us-1", "us-2"]
    assert not actions(records, "eu-cluster")
    _, _, end = playbook.output.partition("TASK [Report what is left to do with kubectl]")
    assert "playbooks/kubernetes.yml" in end
    assert "kubectl apply -k build/kubernetes/eu" in end
    assert "eu-registry-pod, eu-replication-pod. They have the bundle of the inventory" in end


def test_the_report_names_what_a_cluster_lacks(playbook, mixed, example):
    old = pods("eu", bundle_without_location(example, "usstorage"))

    status, _ = playbook.run("site", mixed, *CHECK, **read(*old))

    assert status == 0, playbook.output
    assert "eu: another bundle than the inventory's is loaded by eu-registry-pod" in playbook.output


@pytest.mark.parametrize("known", [True, False])
def test_the_smoke_test_waits_for_the_first_instances_of_a_cluster(playbook, mixed, example, known):
    instances = read(*pods("eu", example)) if known else read()

    status, records = playbook.run("site", mixed, *CHECK, **instances)

    assert status == 0, playbook.output
    assert ("atoll.registry.smoke_test" in actions(records)) == known


@pytest.mark.parametrize("name", ["site", "upgrade", "add_site"])
def test_the_smoke_test_follows_all_changes(playbook, groups, name):
    status, records = playbook.run(name, groups, atoll_site="eu", **UPGRADE)

    assert status == 0, playbook.output
    assert records[-1][1] == "atoll.registry.smoke_test"


def test_a_registry_on_clusters_only_gets_its_services_balancers_and_the_commands(playbook, mixed):
    sites = mixed["atoll_sites"]
    mixed["atoll_kubernetes"]["us-cluster"] = cluster(sites.pop("us-1"), kubernetes_name="quay")
    sites.clear()

    status, records = playbook.run("site", mixed)

    assert status == 0, playbook.output
    hosts = {host for host, _, _ in records}
    assert hosts == {"shared-1", "lb-us", "lb-eu"}
    assert {"atoll.registry.postgres:main", "atoll.registry.redis:main", BALANCER} <= set(
        actions(records)
    )
    assert "the Job in the manifests of each site" in playbook.output
    assert "kubectl apply -k build/kubernetes/us" in playbook.output
    assert "kubectl --namespace quay get jobs,pods" in playbook.output


@pytest.mark.parametrize("name", ["site", "upgrade", "add_site", "remove_site"])
def test_an_inventory_without_clusters_runs_no_step_for_them(playbook, groups, name):
    facts = {
        "registry_good_image": {"stdout": "old"},
        "registry_image_result": {"reference": "new"},
    }

    status, records = playbook.run(name, groups, *CHECK, atoll_site="eu", **facts)

    assert status == 0, playbook.output
    assert READ not in actions(records)
    assert "kubectl" not in playbook.output
    assert "atoll_kubernetes" not in playbook.output


@pytest.mark.parametrize("name", ["add_site", "remove_site"])
def test_without_a_host_of_a_site_the_commands_of_pods_are_named(playbook, mixed, name):
    mixed["atoll_sites"].clear()

    status, records = playbook.run(name, mixed, atoll_site="eu")

    assert status != 0
    assert not records
    assert "docs/how-to/kubernetes.md" in playbook.output


# upgrade.yml


UPGRADE = {
    "registry_good_image": {"stdout": "old"},
    "registry_image_result": {"reference": "new"},
}


def test_an_upgrade_ends_with_the_commands_for_clusters(playbook, mixed, example):
    old = pods("eu", example, version="0.1.0")

    status, records = playbook.run("upgrade", mixed, **UPGRADE, **read(*old))

    assert status == 0, playbook.output
    assert not actions(records, "eu-cluster")
    assert (
        "another version than that of the hosts (0.2.0) runs: eu-registry-pod (0.1.0),"
        in playbook.output
    )
    assert "kubectl apply -k build/kubernetes/eu" in playbook.output


def test_no_site_is_stopped_while_instances_of_a_cluster_run(playbook, mixed, example):
    status, records = playbook.run(
        "upgrade", mixed, atoll_strategy="stop_secondaries", **UPGRADE, **read(*pods("eu", example))
    )

    assert status != 0
    assert STOP not in actions(records)
    assert "eu are running: eu-registry-pod, eu-replication-pod." in playbook.output
    assert (
        "kubectl --namespace atoll scale deployment atoll-registry atoll-replication --replicas=0"
        in playbook.output
    )


@pytest.mark.parametrize("lost", [True, False])
def test_stopped_clusters_do_not_prevent_an_upgrade_by_stop_secondaries(
    playbook, mixed, example, lost
):
    instances = pods("eu", example, lost=True) if lost else []

    status, records = playbook.run(
        "upgrade", mixed, atoll_strategy="stop_secondaries", **UPGRADE, **read(*instances)
    )

    assert status == 0, playbook.output
    assert "atoll.registry.registry:upgrade" in actions(records)


def test_clusters_whose_instances_are_unknown_do_not_count_as_stopped(playbook, mixed):
    unknown = {"clusters_read": {"failed": True, "msg": "the container is not running"}}
    options = {"atoll_strategy": "stop_secondaries"} | UPGRADE | unknown

    status, _ = playbook.run("upgrade", mixed, **options)

    assert status != 0
    assert "Their instances are unknown" in playbook.output
    status, _ = playbook.run("upgrade", mixed, **options, atoll_clusters_stopped=True)
    assert status == 0, playbook.output


def test_clusters_may_run_when_all_hosts_have_the_new_image(playbook, mixed, example):
    done = UPGRADE | {"registry_good_image": {"stdout": "new"}}

    status, _ = playbook.run(
        "upgrade", mixed, atoll_strategy="stop_secondaries", **done, **read(*pods("eu", example))
    )

    assert status == 0, playbook.output


# add_site.yml


@pytest.fixture
def three(mixed, example):
    """Return hosts at us, a cluster at eu, and the bundle of a third site ap."""
    kind, settings = example["DISTRIBUTED_STORAGE_CONFIG"]["usstorage"]
    example["DISTRIBUTED_STORAGE_CONFIG"]["apstorage"] = [kind, settings | {"storage_path": "/ap"}]
    example["DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS"].append("apstorage")
    for group in ("atoll_sites", "atoll_kubernetes"):
        for host in mixed[group].values():
            host["registry_config"] = example
    return mixed


KNOWN = {"add_site_known": {"locations": {"apstorage": {"state": "active"}}}}


def test_a_site_on_hosts_is_complete_after_the_clusters_have_loaded_its_location(
    playbook, three, example
):
    three["atoll_sites"]["ap-1"] = site(example, "ap", "us", "eu")

    status, records = playbook.run("add_site", three, atoll_site="ap", **read(*pods("eu", example)))

    assert status == 0, playbook.output
    assert ("ap-1", REGISTRY) in changed(records)
    assert [host for host, action, _ in records if action == BUNDLE] == ["us-1", "us-2"]
    assert LOCATION in actions(records)
    assert not actions(records, "eu-cluster")


def test_a_location_is_not_complete_while_a_cluster_has_the_previous_bundle(
    playbook, three, example
):
    three["atoll_sites"]["ap-1"] = site(example, "ap", "us", "eu")
    before = pods("eu", bundle_without_location(example, "apstorage"))

    status, records = playbook.run("add_site", three, atoll_site="ap", **read(*before))

    assert status != 0
    # The new site and the bundles of other hosts are done, and stay done.
    assert ("ap-1", REGISTRY) in changed(records)
    assert [host for host, action, _ in records if action == BUNDLE] == ["us-1", "us-2"]
    assert LOCATION not in actions(records)
    assert BALANCER not in actions(records, "lb-us")
    assert "eu: another bundle than the inventory's is loaded by eu-registry-pod" in playbook.output
    assert "`kubectl apply -k build/kubernetes/eu`" in playbook.output


def test_a_cluster_that_cannot_use_the_new_store_does_not_count_as_done(playbook, three, example):
    three["atoll_sites"]["ap-1"] = site(example, "ap", "us", "eu")
    down = pods("eu", example, stores={"apstorage": {"up": False, "cause": "refused"}})

    status, records = playbook.run("add_site", three, atoll_site="ap", **read(*down))

    assert status != 0
    assert LOCATION not in actions(records)
    assert "eu-registry-pod cannot use the store of apstorage: refused" in playbook.output


@pytest.mark.parametrize("stopped", [True, False])
def test_nothing_changes_while_a_cluster_differs_in_more_than_the_location(
    playbook, three, example, stopped
):
    three["atoll_sites"]["ap-1"] = site(example, "ap", "us", "eu")
    instances = [] if stopped else pods("eu", example | {"REGISTRY_TITLE": "another"})

    status, records = playbook.run("add_site", three, atoll_site="ap", **read(*instances))

    assert status != 0
    assert changed(records) == []
    assert ("no instance is running" if stopped else "another bundle") in playbook.output


def test_a_site_on_a_cluster_comes_before_the_other_sites(playbook, three, example):
    three["atoll_kubernetes"]["ap-cluster"] = cluster(site(example, "ap", "us"))

    status, records = playbook.run(
        "add_site", three, atoll_site="ap", **KNOWN, **read(*pods("eu", example))
    )

    assert status != 0
    assert changed(records) == []
    assert "ap: no instance is running" in playbook.output
    assert "`kubectl apply -k build/kubernetes/ap`" in playbook.output


def test_a_site_on_a_cluster_is_added_to_hosts_that_only_load_the_bundle(playbook, three, example):
    three["atoll_kubernetes"]["ap-cluster"] = cluster(site(example, "ap", "us"))
    instances = [*pods("eu", example), *pods("ap", example)]

    status, records = playbook.run("add_site", three, atoll_site="ap", **KNOWN, **read(*instances))

    assert status == 0, playbook.output
    assert REGISTRY not in actions(records)
    assert [host for host, action, _ in records if action == BUNDLE] == ["us-1", "us-2"]
    assert [host for host, action, _ in records if action == LOCATION] == ["us-1"]
    assert {host for host, action, _ in records if action == BALANCER} == {"lb-us", "lb-eu"}


def test_a_site_whose_job_did_not_register_the_location_is_not_added(playbook, three, example):
    three["atoll_kubernetes"]["ap-cluster"] = cluster(site(example, "ap", "us"))
    instances = [*pods("eu", example), *pods("ap", example)]
    unknown = {"add_site_known": {"locations": {"usstorage": {"state": "active"}}}}

    status, records = playbook.run(
        "add_site", three, atoll_site="ap", **unknown, **read(*instances)
    )

    assert status != 0
    assert changed(records) == []
    assert "kubectl --namespace atoll get jobs,pods" in playbook.output


def test_a_site_on_hosts_is_added_to_a_registry_on_clusters_only(playbook, three, example):
    three["atoll_sites"].clear()
    three["atoll_sites"]["ap-1"] = site(example, "ap", "eu")

    status, records = playbook.run("add_site", three, atoll_site="ap", **read(*pods("eu", example)))

    assert status == 0, playbook.output
    assert actions(records, "ap-1").count(REGISTRY) == 1
    assert BUNDLE not in actions(records)
    assert [host for host, action, _ in records if action == LOCATION] == ["ap-1"]


# remove_site.yml


def test_a_site_on_a_cluster_leaves_after_its_instances_stopped(playbook, mixed):
    playbook.deployed = True

    status, records = playbook.run("remove_site", mixed, atoll_site="eu", **read())

    assert status == 0, playbook.output
    assert not actions(records, "eu-cluster")
    assert actions(records, "us-1").count(LOCATION) == 3
    assert "`kubectl delete namespace atoll`" in playbook.output
    assert ("lb-eu", "atoll.registry.load_balancer:remove") in changed(records)


def test_the_location_stays_while_instances_of_the_leaving_cluster_run(playbook, mixed, example):
    playbook.deployed = True

    status, records = playbook.run(
        "remove_site", mixed, atoll_site="eu", **read(*pods("eu", example))
    )

    assert status != 0
    # It was drained, and is not removed.
    assert actions(records, "us-1").count(LOCATION) == 1
    # Load balancers send no more requests there.
    assert ("lb-us", BALANCER) in changed(records)
    assert "eu are running: eu-registry-pod, eu-replication-pod." in playbook.output
    assert "`kubectl delete namespace atoll`" in playbook.output


@pytest.fixture
def leaving(three, example):
    """Return hosts at us and ap, and a cluster at eu."""
    three["atoll_sites"]["ap-1"] = site(example, "ap", "us", "eu")
    for host in three["atoll_sites"].values():
        host["registry_storage_preference"].append("apstorage")
    three["atoll_kubernetes"]["eu-cluster"]["registry_storage_preference"].append("apstorage")
    return three


def test_the_manifests_of_remaining_clusters_are_rendered_without_the_location(
    root, tmp_path, leaving, example
):
    names = ["registry_storage_preference", "remove_site_location"]
    playbook = RecordedPlaybook(root, tmp_path, variables=names)
    reduced = bundle_without_location(example, "apstorage")

    status, records = playbook.run(
        "remove_site", leaving, atoll_site="ap", **read(*pods("eu", reduced))
    )

    assert status == 0, playbook.output
    rendered = [(host, values) for host, action, values in records if action == RENDER]
    assert [host for host, _ in rendered] == ["eu-cluster"]
    assert rendered[0][1]["registry_storage_preference"] == ["eustorage", "usstorage"]
    stopped = actions(records).index(STOP)
    assert actions(records).index(RENDER) < stopped


def test_a_site_on_hosts_stays_until_the_remaining_clusters_have_the_reduced_bundle(
    playbook, leaving, example
):
    status, records = playbook.run(
        "remove_site", leaving, atoll_site="ap", **read(*pods("eu", example))
    )

    assert status != 0
    assert STOP not in actions(records)
    assert actions(records).count(LOCATION) == 1
    assert "eu: another bundle than the inventory's is loaded by eu-registry-pod" in playbook.output
    assert "`kubectl apply -k build/kubernetes/eu`" in playbook.output


def test_the_last_site_on_hosts_cannot_be_removed_by_the_playbook(playbook, mixed, example):
    status, records = playbook.run(
        "remove_site", mixed, atoll_site="us", **read(*pods("eu", example))
    )

    assert status != 0
    assert not records
    assert "us is the last site on hosts" in playbook.output


@pytest.mark.parametrize("name", ["add_site", "remove_site"])
def test_the_sites_on_clusters_are_listed_for_an_unknown_one(playbook, mixed, name):
    status, _ = playbook.run(name, mixed, atoll_site="nowhere")

    assert status != 0
    assert "sites of the inventory are: us, eu." in playbook.output


# status.yml


@pytest.mark.parametrize("healthy", [True, False])
def test_the_status_has_each_cluster_as_the_registry_and_its_address_report_it(
    playbook, mixed, example, tmp_path, healthy
):
    reduced = example if healthy else bundle_without_location(example, "usstorage")
    registry = {"instances": pods("eu", reduced), "locations": [], "problems": []}
    reported = {"units": {}, "problems": [], "version": "0.2.0", "registry": registry}
    address = {"cluster": {"site": "eu"}, "problems": [] if healthy else ["registry: refused"]}
    file = tmp_path / "status.json"

    status, records = playbook.run(
        "status",
        mixed,
        status_host=reported,
        status_clusters={"results": [address]},
        atoll_status_file=str(file),
    )

    report = json.loads(file.read_text())
    assert (status == 0) == healthy, playbook.output
    assert not actions(records, "eu-cluster")
    assert [one["bundles"] for one in report["clusters"]] == [[bundle_fingerprint(reduced)]]
    expected = "another bundle than the inventory's is loaded by"
    assert report["findings"] == (
        []
        if healthy
        else [
            f"site eu: {expected} eu-registry-pod, eu-replication-pod",
            "site eu: registry: refused",
        ]
    )


def test_the_status_of_a_registry_without_any_host_names_the_commands_of_pods(playbook, mixed):
    status, records = playbook.run("status", {"atoll_kubernetes": mixed["atoll_kubernetes"]})

    assert status != 0
    assert not records
    assert "docs/how-to/kubernetes.md" in playbook.output


def test_no_secret_is_printed(playbook, mixed, example):
    _, records = playbook.run("site", mixed, *CHECK, **read(*pods("eu", example)))

    assert example["SECRET_KEY"] not in playbook.output
    assert json.dumps(records)
