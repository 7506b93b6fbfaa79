"""An incomplete or contradictory inventory of sites on clusters is refused."""

import importlib

import pytest
from ansible.parsing.dataloader import DataLoader
from kubernetes_directory import Directory
from kubernetes_sites import ROOT, module


class Hostvars:
    """The variables of hosts without templates."""

    def __init__(self, directory):
        self._directory = directory

    def raw_get(self, host):
        variables = self._directory.variables | self._directory.hosts[host]
        return {"inventory_hostname": host, "group_names": ["atoll_kubernetes"], **variables}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return tmp_path_factory.mktemp("inventory")


@pytest.fixture
def directory(files):
    return Directory(files)


@pytest.fixture
def problems(directory):
    """Return a function that returns the problems of the inventory with changed variables."""
    inventory = importlib.import_module(
        "ansible_collections.atoll.registry.plugins.plugin_utils.preflight.inventory"
    )

    def check(severity="error", **changes):
        directory.variables |= changes
        roles = inventory.Roles(DataLoader(), ROOT / "roles")
        groups = {"atoll_kubernetes": list(directory.hosts)}
        clusters = module("clusters").Clusters(Hostvars(directory), groups, roles)
        found = module("checks").manifest_problems(clusters, directory.build)
        return [
            f"{one['host']}: {one['problem']} {one['remedy']}"
            for one in found
            if one["severity"] == severity
        ]

    return check


def test_the_documented_example_is_accepted(problems):
    assert problems() == []


@pytest.mark.parametrize(
    "name",
    [
        "site_platform",
        "registry_hostname",
        "registry_image",
        "registry_config",
        "registry_tls_certificate_file",
        "registry_tls_key_file",
    ],
)
def test_each_required_variable_must_be_set(problems, directory, name):
    del directory.variables[name]
    found = problems()

    assert len([one for one in found if f"missing required arguments: {name}" in one]) == 2


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"site_platform": "nomad"}, "must be one of: kubernetes"),
        ({"registry_site": "US_1"}, "registry_site is 'US_1'"),
        ({"kubernetes_name": "1atoll"}, "kubernetes_name is '1atoll'"),
        ({"kubernetes_name": "a" * 41}, "Use at most 40 characters"),
        ({"kubernetes_namespace": "Quay"}, "kubernetes_namespace is 'Quay'"),
        ({"registry_image": "quay.io/atoll:latest"}, "NAME@sha256:DIGEST"),
        ({"kubernetes_replicas": -1}, "kubernetes_replicas is -1"),
        ({"kubernetes_replicas": "two"}, "kubernetes_replicas"),
        ({"kubernetes_https_port": 0}, "kubernetes_https_port is 0"),
        ({"kubernetes_podman_port": 70000}, "kubernetes_podman_port is 70000"),
        ({"kubernetes_spool_size": "20 GB"}, "kubernetes_spool_size is '20 GB'"),
        ({"kubernetes_mirror_limits": {"memory": "much"}}, "kubernetes_mirror_limits.memory"),
        ({"kubernetes_service_type": "External"}, "must be one of: ClusterIP"),
        ({"kubernetes_ingress_class": "nginx"}, "kubernetes_ingress is none"),
        ({"kubernetes_ingress_annotations": {"a": "b"}}, "kubernetes_ingress is none"),
        ({"registry_hostname": "other.acme.test"}, "SERVER_HOSTNAME of registry_config is"),
        ({"registry_mirror": "true", "mirroring": False}, "registry_mirror is true"),
        ({"kubernetes_overrides": {"redis": {}}}, "redis is not a component"),
        ({"kubernetes_overrides": {"mirror": {}}, "registry_mirror": "false"}, "does not run"),
        ({"kubernetes_replica": 3}, "did you mean kubernetes_replicas?"),
        ({"registry_tls_key_file": "/missing.key"}, "cannot be read"),
    ],
)
def test_a_wrong_value_is_refused_with_a_remedy(problems, directory, variables, words):
    if not variables.pop("mirroring", True):
        directory.variables["registry_config"]["FEATURE_REPO_MIRROR"] = False
    directory.hosts["cluster-us"] |= variables
    found = [one for one in problems() if words in one]

    assert [one.split(":")[0] for one in found] == ["cluster-us"]


def test_an_archive_of_the_image_is_refused(problems, directory):
    del directory.variables["registry_image"]
    found = problems(registry_image_archive="registry.tar")

    assert "Push the image to a registry that the cluster reaches" in " ".join(found)


def test_a_local_directory_as_a_store_is_refused(problems, directory):
    stores = directory.variables["registry_config"]["DISTRIBUTED_STORAGE_CONFIG"]
    stores["eustorage"] = ["LocalStorage", {"storage_path": "/datastorage"}]

    assert "eustorage is a LocalStorage" in " ".join(problems())


def test_a_bundle_that_no_secret_can_hold_is_refused(problems, files):
    large = files / "large.crt"
    large.write_text("x" * 2**20)

    assert "a Secret has at most 1048576" in " ".join(
        problems(registry_extra_ca_files=[str(large)])
    )


def test_a_file_whose_name_is_no_key_of_a_secret_is_refused(problems, files):
    path = files / "my store.crt"
    path.write_text("x")

    assert "is no key of a Secret" in " ".join(problems(registry_extra_ca_files=[str(path)]))


def test_two_clusters_of_the_same_site_are_refused(problems, directory):
    directory.hosts["cluster-eu"]["registry_site"] = "us"
    (found,) = problems()

    assert "cluster-eu: registry_site is us, as that of cluster-us" in found


def test_two_sites_that_write_to_the_same_location_are_reported(problems, directory):
    directory.hosts["cluster-eu"]["registry_storage_preference"] = ["usstorage", "eustorage"]

    assert "both write to the location usstorage" in " ".join(problems("warning"))


def test_sites_with_different_bundles_are_refused(problems, directory):
    other = directory.variables["registry_config"] | {"FEATURE_USER_CREATION": False}
    directory.hosts["cluster-eu"]["registry_config"] = other

    assert "registry_config differs from that of cluster-us" in " ".join(problems())


def test_a_bundle_that_the_registry_would_refuse_is_refused(problems, directory):
    directory.hosts["cluster-us"]["registry_storage_preference"] = ["apstorage"]

    assert "apstorage" in " ".join(problems())
