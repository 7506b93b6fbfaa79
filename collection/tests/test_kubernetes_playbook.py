"""playbooks/kubernetes.yml checks all sites, and then writes files that only their owner reads."""

import re

import pytest
import yaml
from kubernetes_directory import MARK, SECRETS, Directory, decoded


@pytest.fixture
def directory(tmp_path):
    return Directory(tmp_path)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """Return an inventory whose sites were rendered, and the most detailed output."""
    found = Directory(tmp_path_factory.mktemp("inventory"))
    status, output = found.play("-vvv", "--diff")
    assert status == 0, output
    return found, output


def test_each_site_has_a_directory(rendered):
    found, output = rendered

    assert {path.split("/")[0] for path in found.files()} == {"us", "eu"}
    for site in ("us", "eu"):
        assert f"kubectl apply -k {found.build}/{site}" in output
    assert "kubectl --namespace atoll exec deployment/atoll-registry -- atoll migrate" in output


def test_only_the_owner_can_read_the_files(rendered):
    for path, mode in rendered[0].modes().items():
        assert mode == (0o700 if path.is_dir() else 0o600), path


def test_the_console_shows_no_secret(rendered):
    found, output = rendered

    assert "atoll-registry" in output
    assert MARK not in output
    key = (found.folder / "registry.key").read_text().splitlines()[1]
    assert key not in output
    for secret in found.files().values():
        for value in re.findall(r"^  [\w.-]+: (?=\S{200})(\S+)$", secret, re.MULTILINE):
            assert value not in output


def test_secrets_are_only_in_objects_of_that_kind(rendered):
    found, _output = rendered
    key = (found.folder / "registry.key").read_text()
    secrets, others = [], []
    for path, text in found.files().items():
        for one in yaml.safe_load_all(text) if path.endswith(".yaml") else [text]:
            is_secret = isinstance(one, dict) and one["kind"] == "Secret"
            (secrets if is_secret else others).append(one)
    contents = "\n".join(map(decoded, secrets))

    assert MARK not in str(others)
    assert key not in str(others)
    assert "BEGIN" not in str(others)
    assert all(value in contents for value in [*SECRETS.values(), key])


def test_the_initial_password_is_in_a_secret_of_its_own(rendered):
    password = SECRETS["INITIAL_SUPERUSER_PASSWORD"]
    files = rendered[0].files()
    names = {
        one["metadata"]["name"]
        for path, text in files.items()
        if path.endswith(".yaml")
        for one in yaml.safe_load_all(text)
        if one["kind"] == "Secret" and password in decoded(one)
    }

    assert names == {"atoll-initial-superuser"}


def test_a_second_run_writes_nothing(rendered):
    found, _output = rendered
    before = found.times()
    status, output = found.play("--diff")

    assert status == 0, output
    assert found.times() == before
    assert re.findall(r"changed=(\d+)", output) == ["0", "0", "0"]


def test_check_mode_writes_nothing(directory):
    status, output = directory.play("--check", "--diff")

    assert status == 0, output
    assert not (directory.folder / "build").exists()
    assert MARK not in output
    assert "kind: Deployment" in output


def test_obsolete_files_are_removed_and_changed_ones_replaced(directory):
    directory.play()
    directory.variables["registry_config"]["FEATURE_REPO_MIRROR"] = False
    del directory.variables["registry_config"]["INITIAL_SUPERUSER_PASSWORD"]
    before = set(directory.files())
    status, output = directory.play()

    assert status == 0, output
    gone = {f"{site}/{name}" for site in ("us", "eu") for name in _MIRROR_AND_PASSWORD}
    assert before - set(directory.files()) == gone


_MIRROR_AND_PASSWORD = ("mirror-deployment.yaml", "initial-superuser-secret.yaml")


def test_the_mode_of_a_directory_with_other_content_is_kept(directory):
    directory.build.mkdir(parents=True, mode=0o755)
    status, output = directory.play()

    assert status == 0, output
    assert directory.modes()[directory.build] == 0o755
    assert directory.modes()[directory.build / "us"] == 0o700


def test_files_that_were_not_rendered_are_never_removed(directory):
    mine = directory.build / "us/mine.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    status, output = directory.play()

    assert status != 0
    assert "us contains files that were not rendered, such as mine.txt" in " ".join(output.split())
    assert list(directory.files()) == ["us/mine.txt"]


@pytest.mark.parametrize("option", ["atoll_strategy", "strategy"])
def test_the_order_of_quays_runbook_stops_all_sites_except_the_first(directory, option):
    status, output = directory.play("-e", f"{option}=stop_secondaries")
    files = directory.files()

    assert status == 0, output
    assert "replicas: 2\n" in files["us/registry-deployment.yaml"]
    assert "us/migrate-job.yaml" in files
    for component in ("registry", "replication", "mirror"):
        assert "replicas: 0\n" in files[f"eu/{component}-deployment.yaml"]
    assert "eu/migrate-job.yaml" not in files
    stop, upgrade = (
        output.index(f"kubectl apply -k {directory.build}/{one}") for one in ("eu", "us")
    )
    assert stop < upgrade


def test_an_unknown_strategy_is_refused(directory):
    status, output = directory.play("-e", "atoll_strategy=all_at_once")

    assert status != 0
    assert 'The strategy "all_at_once" is unknown' in output
    assert not directory.build.exists()


def test_no_site_is_written_if_another_one_has_an_error(directory):
    directory.hosts["cluster-eu"]["kubernetes_overrides"] = {"postgres": {"replicas": 1}}
    status, output = directory.play()

    assert status != 0
    assert "postgres is not a component of the manifests" in " ".join(output.split())
    assert "No file was written" in output
    assert not directory.build.exists()


def test_an_accepted_error_does_not_prevent_the_rendering(directory):
    directory.variables["kubernetes_service_annotations"] = {"owner": "change-me"}
    refused, output = directory.play()
    accepted, _output = directory.play("-e", "atoll_preflight_accept=placeholder")

    assert refused != 0
    assert "Id: placeholder" in output
    assert accepted == 0


def test_an_inventory_without_sites_on_clusters_is_refused(directory):
    directory.hosts = {}
    status, output = directory.play()

    assert status != 0
    assert "The group atoll_kubernetes has no hosts" in output


def test_one_site_can_be_rendered_alone(directory):
    status, output = directory.play(
        "--limit", "cluster-eu", "-e", "atoll_strategy=stop_secondaries"
    )

    assert status == 0, output
    assert {path.split("/")[0] for path in directory.files()} == {"eu"}
    assert "replicas: 0\n" in directory.files()["eu/registry-deployment.yaml"]
