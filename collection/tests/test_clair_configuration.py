"""The role clair renders Clair's configuration from its options."""

import json

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

URI = "postgresql://clair:SECRET-VALUE@db.test:5432/clair"
KEY = "5d0c1a9e7b3f4826" * 4


def trusted(value):
    if isinstance(value, dict):
        return {key: trusted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [trusted(item) for item in value]
    return trust_as_template(value) if isinstance(value, str) else value


@pytest.fixture
def evaluate(root):
    """Return a function that returns a variable of the role, with options set."""

    def value(name, **options):
        variables = {"registry_hostname": "registry.test", "registry_site": "us"}
        variables |= {"ansible_host": "10.1.0.30", "inventory_hostname": "scan-us"}
        variables |= {"ansible_facts": {}, "clair_psk": KEY, "clair_database_uri": URI}
        for part in ("defaults", "vars"):
            text = (root / f"roles/clair/{part}/main.yml").read_text()
            variables = yaml.safe_load(text) | variables
        templar = Templar(loader=DataLoader(), variables=trusted(variables | options))
        return templar.template(trust_as_template(f"{{{{ {name} }}}}"))

    return value


@pytest.fixture
def configuration(evaluate):
    """Return a function that returns the configuration of Clair, with options set."""
    return lambda **options: evaluate("__clair_configuration", **options)


def test_all_services_use_the_external_database_and_migrate_it(configuration):
    found = configuration()

    for service in ("indexer", "matcher", "notifier"):
        assert found[service]["connstring"] == URI
        assert found[service]["migrations"] is True


def test_clair_and_the_registry_share_the_key(configuration):
    assert configuration()["auth"] == {"psk": {"key": KEY, "iss": ["quay", "clairctl"]}}


def test_notifications_go_to_the_registry_without_a_summary(configuration):
    assert configuration()["notifier"] == {
        "connstring": URI,
        "migrations": True,
        "disable_summary": True,
        "webhook": {
            "target": "https://registry.test/secscan/notification",
            "callback": "http://10.1.0.30:6060/notifier/api/v1/notification/",
        },
    }


@pytest.mark.parametrize("airgap", [True, False])
def test_the_mappings_of_red_hat_images_never_come_from_the_internet(
    configuration, evaluate, airgap
):
    scanners = configuration(clair_airgap=airgap)["indexer"]["scanner"]
    repositories = scanners["repo"]["rhel-repository-scanner"]["repo2cpe_mapping_file"]
    containers = scanners["package"]["rhel_containerscanner"]["name2repos_mapping_file"]

    files = {file["path"]: file.get("content") for file in evaluate("__clair_files")}
    for path in (repositories, containers):
        deployed = files[path.replace("/etc/clair/", "/etc/atoll/clair/")]
        content = deployed if isinstance(deployed, str) else json.dumps(deployed)
        assert json.loads(content) == {"data": {}}


def test_an_isolated_clair_fetches_nothing(configuration):
    found = configuration(clair_airgap=True)

    assert found["indexer"]["airgap"] is True
    assert found["matcher"]["disable_updaters"] is True


def test_a_connected_clair_runs_the_chosen_updaters(configuration):
    found = configuration(clair_updaters=["debian", "clair.cvss"])

    assert found["updaters"] == {"sets": ["debian", "clair.cvss"]}
    assert found["indexer"]["airgap"] is False
    assert found["matcher"]["disable_updaters"] is False


def test_further_configuration_is_merged_at_any_depth(configuration):
    further = {
        "indexer": {"index_report_request_concurrency": 4},
        "notifier": {"webhook": {"target": "https://other.test/"}},
        "auth": {"psk": {"iss": ["quay"]}},
        "trace": {"name": "otlp"},
    }
    found = configuration(clair_config=further)

    assert found["indexer"]["index_report_request_concurrency"] == 4
    assert found["indexer"]["connstring"] == URI
    assert found["notifier"]["webhook"]["target"] == "https://other.test/"
    assert found["notifier"]["disable_summary"] is True
    assert found["auth"]["psk"] == {"key": KEY, "iss": ["quay"]}
    assert found["trace"] == {"name": "otlp"}


def test_clair_serves_https_with_a_certificate(configuration):
    found = configuration(clair_tls_certificate_file="/tls/clair.crt")

    assert found["tls"] == {"cert": "/etc/clair/tls.crt", "key": "/etc/clair/tls.key"}
    assert found["notifier"]["webhook"]["callback"].startswith("https://10.1.0.30:6060/")
    assert "tls" not in configuration()


def test_only_the_user_of_the_container_can_read_the_configuration(evaluate):
    files = evaluate("__clair_files")
    with_secrets = [file for file in files if "SECRET-VALUE" in json.dumps(file)]

    assert [file["path"] for file in with_secrets] == ["/etc/atoll/clair/config.yaml"]
    assert [(file["owner"], file["mode"]) for file in with_secrets] == [("atoll", "0600")]
    # The module hides values under this key.
    assert all("secret" in file for file in with_secrets)


def test_the_configuration_file_is_yaml_with_the_same_values(evaluate):
    (file,) = [one for one in evaluate("__clair_files") if "secret" in one]
    content = file["secret"]

    parsed = yaml.safe_load(content) if isinstance(content, str) else content
    assert parsed == evaluate("__clair_configuration")


def test_ca_certificates_are_deployed_to_the_directory_that_clair_reads(evaluate, tmp_path):
    for name in ("proxy.crt", "db.pem"):
        (tmp_path / name).write_text(f"{name}\n")

    found = evaluate(
        "__clair_certificates",
        clair_extra_ca_files=[f"{tmp_path}/proxy.crt"],
        clair_database_ca_file=f"{tmp_path}/db.pem",
    )

    assert {file["path"]: file["content"] for file in found} == {
        "/etc/atoll/clair/ca/proxy.crt": "proxy.crt\n",
        "/etc/atoll/clair/database.pem": "db.pem\n",
    }
