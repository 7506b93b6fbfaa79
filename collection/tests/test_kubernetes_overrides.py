"""Overrides of workloads have the semantics of Quay's Operator."""

import copy

import pytest
from kubernetes_sites import container, environment, migration, module, render, workload

PREFERENCE = ["usstorage", "eustorage"]


def overridden(component="registry", **values):
    """Return the files of a site with an override of a component."""
    return render(kubernetes_overrides={component: values})


def refused(overrides, components=("registry", "replication", "mirror")):
    """Return the reasons for which overrides are refused."""
    found = module("override_checks").override_problems(overrides, components, PREFERENCE)
    return list(found)


def test_a_variable_is_changed_in_its_place_and_a_new_one_is_added_at_the_end():
    before = environment(workload(render(), "registry"))
    variables = [
        {"name": "NEW", "value": "new"},
        {"name": "WORKER_COUNT_REGISTRY", "value": "8"},
        {"name": "ANOTHER", "value": "other"},
    ]
    after = environment(workload(overridden(env=variables), "registry"))

    assert list(after) == [*before, "NEW", "ANOTHER"]
    assert after == before | {"WORKER_COUNT_REGISTRY": "8", "NEW": "new", "ANOTHER": "other"}


def test_a_variable_is_set_in_every_container_but_not_in_init_containers():
    override = module("overrides").override_environment
    pod = {
        "initContainers": [{"name": "first", "env": [{"name": "A", "value": "1"}]}],
        "containers": [{"name": "one", "env": [{"name": "A", "value": "1"}]}, {"name": "two"}],
    }
    before = copy.deepcopy(pod)
    override(pod, {"env": [{"name": "A", "value": "2"}]})

    assert pod["initContainers"] == before["initContainers"]
    assert [one["env"] for one in pod["containers"]] == [[{"name": "A", "value": "2"}]] * 2


def test_a_value_is_replaced_by_a_reference():
    reference = {"secretKeyRef": {"name": "mine", "key": "count"}}
    variables = [{"name": "WORKER_COUNT_REGISTRY", "valueFrom": reference}]
    found = container(workload(overridden(env=variables), "registry"))["env"]

    assert {"name": "WORKER_COUNT_REGISTRY", "valueFrom": reference} in found


def test_variables_of_the_registry_apply_to_the_migration_and_to_no_other_component():
    files = overridden(env=[{"name": "NEW", "value": "new"}])

    assert environment(migration(files))["NEW"] == "new"
    assert "NEW" not in environment(workload(files, "replication"))
    assert "NEW" not in environment(workload(files, "mirror"))
    assert "NEW" not in environment(migration(overridden("mirror", env=[{"name": "NEW"}])))


@pytest.mark.parametrize("component", ["registry", "replication", "mirror"])
def test_replicas_of_each_component_can_be_set(component):
    assert workload(overridden(component, replicas=0), component)["spec"]["replicas"] == 0
    assert workload(overridden(component, replicas=5), component)["spec"]["replicas"] == 5


def test_resources_and_affinity_replace_the_defaults():
    files = overridden(resources={"limits": {"memory": "4Gi"}}, affinity={"nodeAffinity": {}})
    deployment = workload(files, "registry")

    assert container(deployment)["resources"] == {"limits": {"memory": "4Gi"}}
    assert deployment["spec"]["template"]["spec"]["affinity"] == {"nodeAffinity": {}}


@pytest.mark.parametrize("field", ["labels", "annotations"])
def test_labels_and_annotations_are_added_to_the_deployment_and_its_pods(field):
    before = workload(render(), "mirror")
    after = workload(overridden("mirror", **{field: {"team": "registry"}}), "mirror")

    for path in (("metadata",), ("spec", "template", "metadata")):
        old, new = before, after
        for key in path:
            old, new = old[key], new[key]
        assert new[field] == old.get(field, {}) | {"team": "registry"}
    assert before["spec"]["selector"] == after["spec"]["selector"]


def test_valid_overrides_are_accepted():
    assert (
        refused(
            {
                "registry": {
                    "env": [
                        {"name": "A", "value": "1"},
                        {"name": "B", "valueFrom": {}},
                        {"name": "C"},
                        {
                            "name": "QUAY_DISTRIBUTED_STORAGE_PREFERENCE",
                            "value": "usstorage,eustorage",
                        },
                    ],
                    "replicas": 0,
                    "resources": {"requests": {"cpu": 2, "memory": "1.5Gi"}},
                    "labels": {"team": "registry"},
                    "annotations": {"note": "text"},
                    "affinity": {},
                },
                "replication": {"replicas": 2},
                "mirror": {},
            }
        )
        == []
    )


@pytest.mark.parametrize(
    ("component", "words"),
    [
        ("quay", "use registry"),
        ("postgres", "DB_URI"),
        ("redis", "BUILDLOGS_REDIS"),
        ("clair", "atoll_clair"),
        ("objectstorage", "DISTRIBUTED_STORAGE_CONFIG"),
        ("horizontalpodautoscaler", "kubernetes_replicas"),
        ("monitoring", "kubernetes_service_monitor"),
        ("registri", "use one of registry, replication, mirror"),
    ],
)
def test_overrides_of_a_component_that_the_manifests_lack_are_refused(component, words):
    (message,) = refused({component: {"replicas": 1}})

    assert message.startswith(f"kubernetes_overrides.{component}: {component} is not a component")
    assert words in message


@pytest.mark.parametrize(
    ("component", "words"),
    [
        ("replication", "without FEATURE_STORAGE_REPLICATION"),
        ("mirror", "without FEATURE_REPO_MIRROR"),
    ],
)
def test_overrides_of_a_component_that_does_not_run_are_refused(component, words):
    (message,) = refused({component: {"env": []}}, components=("registry",))

    assert words in message
    assert "remove the overrides" in message


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("securityContext", {}, "Pod Security Standard restricted"),
        ("volumeSize", "1Gi", "no workload has a persistent volume"),
        ("storageClassName", "fast", "no workload has a persistent volume"),
        ("replica", 1, "did you mean replicas?"),
        ("command", [], "use one of env, replicas"),
        ("replicas", -1, "is negative"),
        ("replicas", "two", "is not a number"),
        ("replicas", True, "is not a number"),
        ("env", {"A": "1"}, "is not a list of variables"),
        ("env", ["A=1"], "write name and value"),
        ("env", [{"value": "1"}], "write name and value"),
        ("env", [{"name": "A=B", "value": "1"}], "no valid name"),
        ("env", [{"name": "A", "value": 1}], "quote it"),
        ("env", [{"name": "A", "value": "1", "valueFrom": {}}], "only have value or valueFrom"),
        ("env", [{"name": "A", "values": "1"}], "only have value or valueFrom"),
        ("env", [{"name": "ATOLL_DRAIN_TIMEOUT", "value": "1"}], "set registry_drain_timeout"),
        (
            "env",
            [{"name": "QUAY_DISTRIBUTED_STORAGE_PREFERENCE", "value": "eustorage"}],
            "contradicts registry_storage_preference",
        ),
        ("resources", {"claims": []}, "use requests and limits"),
        ("resources", {"limits": {"memory": "2 GB"}}, "not a quantity"),
        ("resources", {"limits": "2Gi"}, "is no map"),
        ("labels", {"team": 1}, "quote it"),
        ("labels", {"app.kubernetes.io/name": "quay"}, "selects the pods"),
        ("annotations", {"atoll.registry/bundle-checksum": "x"}, "set by the role"),
    ],
)
def test_overrides_that_the_operator_or_kubernetes_would_refuse_are_refused(name, value, words):
    (message,) = refused({"registry": {name: value}})

    assert message.startswith(f"kubernetes_overrides.registry.{name}")
    assert words in message


def test_all_mistakes_are_reported_at_once():
    assert len(refused({"quay": {}, "registry": {"volumeSize": 1, "replicas": -1}})) == 3
