"""A preflight finds all problems of an inventory in one run, and changes nothing."""

import json
import socket

import pytest
import yaml
from preflight_run import Directory


@pytest.fixture
def directory(tmp_path):
    return Directory.example(tmp_path)


def test_two_primaries_are_refused_and_cannot_be_accepted(directory):
    directory.edit(
        "hosts.yml",
        (
            "shared-1.example.org: {ansible_host: 192.0.2.10}",
            "shared-1.example.org: {ansible_host: 192.0.2.10}\n            shared-2.example.org:",
        ),
    )

    outcome = directory.preflight("-e", "atoll_preflight_accept=several-postgres-hosts")

    assert outcome.status != 0
    assert "several-postgres-hosts" in outcome.errors()
    assert "These errors cannot be accepted: several-postgres-hosts." in outcome.output


def test_a_misspelt_configuration_key_is_reported_with_the_correct_one(directory):
    directory.edit(
        "group_vars/all/registry.yml",
        ("FEATURE_STORAGE_REPLICATION", "FEATURE_STORAGE_REPLICATON"),
    )

    outcome = directory.preflight()

    assert "configuration-key-unknown" in outcome.errors()
    remedy = "Rename FEATURE_STORAGE_REPLICATON to FEATURE_STORAGE_REPLICATION."
    assert remedy in {item["remedy"] for item in outcome.report["problems"]}


def test_a_misspelt_variable_is_reported_with_the_correct_one(directory):
    directory.edit("group_vars/atoll/connection.yml", ("---\n", "---\nregistry_adress: 1.2.3.4\n"))

    (found,) = (
        item
        for item in directory.preflight().report["problems"]
        if item["id"] == "variable-unknown" and item["host"] == "us-1.example.org"
    )

    assert "did you mean registry_address?" in found["problem"]


def test_all_undefined_variables_are_reported_once(directory):
    (directory.folder / "group_vars/all/vault.yml").unlink()

    outcome = directory.preflight()

    problems = [i for i in outcome.report["problems"] if i["id"] == "variable-undefined"]
    assert len({item["problem"] for item in problems}) == 9
    assert outcome.errors() >= {"variable-undefined"}
    assert "bundle-invalid" not in outcome.ids


def test_an_accepted_error_does_not_stop_the_playbook(directory):
    directory.edit(
        "group_vars/all/registry.yml",
        ("FEATURE_STORAGE_REPLICATION", "FEATURE_STORAGE_REPLICATON"),
    )

    outcome = directory.preflight("-e", "atoll_preflight_accept=configuration-key-unknown")

    assert "configuration-key-unknown" in outcome.ids - outcome.errors()


def test_an_unreachable_host_does_not_hide_other_problems_or_start_the_rollout(directory):
    directory.edit(
        "group_vars/all/registry.yml",
        ("FEATURE_STORAGE_REPLICATION", "FEATURE_STORAGE_REPLICATON"),
    )
    # The port refuses connections.
    ssh = ["-e", "ansible_host=127.0.0.1", "-e", "ansible_port=1", "-e", "ansible_user=nobody"]

    outcome = directory.preflight(*ssh, playbook="site")

    assert {"host-unreachable", "configuration-key-unknown"} <= outcome.errors()
    assert outcome.status != 0
    assert "PLAY [Prepare the hosts]" not in outcome.output


@pytest.mark.parametrize("playbook", ["site", "add_site", "add_host", "upgrade"])
def test_playbooks_that_roll_out_begin_with_a_preflight(root, playbook):
    (first, *_others) = yaml.safe_load((root / f"playbooks/{playbook}.yml").read_text())

    assert first["ansible.builtin.import_playbook"] == "preflight.yml"


def test_components_on_one_host_cannot_publish_the_same_port(directory):
    directory.edit(
        "hosts.yml",
        ("lb-us.example.org:\n              ansible_host: 192.0.2.20", "us-1.example.org:"),
    )

    found = [i for i in directory.preflight().report["problems"] if i["id"] == "port-collision"]

    assert [item["host"] for item in found] == ["us-1.example.org"]
    assert "registry_https_port and load_balancer_https_port are both 443" in found[0]["problem"]


def test_the_port_of_the_mirror_process_collides_only_where_it_runs(directory):
    collision = "registry_mirror_metrics_port: 9091\n"
    directory.edit("group_vars/atoll/connection.yml", ("---\n", f"---\n{collision}"))
    assert "port-collision" not in directory.preflight().errors()

    directory.edit(
        "group_vars/all/registry.yml",
        (
            "  FEATURE_STORAGE_REPLICATION",
            "  FEATURE_REPO_MIRROR: true\n  FEATURE_STORAGE_REPLICATION",
        ),
    )
    assert "port-collision" in directory.preflight().errors()


def test_two_hosts_with_one_address_are_one_machine(directory):
    directory.edit("hosts.yml", ("ansible_host: 192.0.2.20", "ansible_host: 192.0.2.11"))

    assert "port-collision" in directory.preflight().errors()


def test_a_file_of_the_bundle_that_no_variable_deploys_is_named(directory):
    directory.edit(
        "group_vars/atoll/tls.yml",
        ("registry_database_ca_file:", "# registry_database_ca_file:"),
        ("registry_extra_ca_files:", "# registry_extra_ca_files:"),
    )

    problems = directory.preflight().report["problems"]

    missing = {item["problem"] for item in problems if item["id"] == "bundle-file-missing"}
    assert len(missing) == 3
    assert any("sslrootcert is /conf/stack/database.pem" in text for text in missing)
    assert any("ssl_ca_certs is /conf/stack/extra_ca_certs/ca.crt" in text for text in missing)


def test_the_files_of_all_components_are_reported_in_one_run(directory):
    problems = directory.preflight().report["problems"]

    missing = {item["problem"].split()[0] for item in problems if item["id"] == "file-missing"}
    assert missing >= {f"{role}_tls_key_file" for role in ("registry", "postgres", "redis")}


def test_an_encrypted_key_is_read_with_the_vault_password(directory):
    password = directory.folder.parent / "password"
    password.write_text("correct")
    directory.encrypt("group_vars/atoll/tls/redis.key", "secret", password)

    def redis_key(*words):
        problems = directory.preflight(*words).report["problems"]
        return [item for item in problems if item["problem"].startswith("redis_tls_key_file")]

    assert redis_key()
    assert not redis_key("--vault-password-file", str(password))


@pytest.mark.parametrize(
    ("old", "new", "identifier"),
    [
        ("ansible_host: 192.0.2.11", "ansible_host: us-1", "address-invalid"),
        (
            "us-2.example.org: {",
            "us-2.example.org: {registry_storage_preference: [eustorage, usstorage], ",
            "site-inconsistent",
        ),
        ("us-2.example.org: {", "us-2.example.org: {registry_tasks: many, ", "value-invalid"),
        (
            "us-2.example.org: {",
            "us-2.example.org: {host_registry_credentials: secret, ",
            "value-invalid",
        ),
        ("us-2.example.org: {", "us-2.example.org: {registry_image: atoll, ", "image-invalid"),
        (
            "us-2.example.org: {",
            "us-2.example.org: {registry_config: {SERVER_HOSTNAME: a}, ",
            "bundle-differs",
        ),
    ],
)
def test_a_mistake_in_the_inventory_is_an_error(directory, old, new, identifier):
    directory.edit("hosts.yml", (old, new))

    assert identifier in directory.preflight().errors()


def test_a_load_balancer_of_a_removed_site_is_explained(directory):
    directory.edit("hosts.yml", ("load_balancer_site: eu", "load_balancer_site: ap"))

    (found,) = (i for i in directory.preflight().report["problems"] if i["id"] == "site-unknown")

    assert "load_balancer_site is ap, which is not a site" in found["problem"]
    assert "remove lb-eu.example.org from the inventory" in found["remedy"]


def test_problems_of_hosts_and_of_the_controller_are_in_one_table(directory):
    directory.edit("hosts.yml", ("load_balancer_site: eu", "load_balancer_site: ap"))
    # A port that is in use.
    with socket.create_server(("127.0.0.1", 0)) as server:
        local = {
            "ansible_connection": "local",
            "ansible_become": False,
            "load_balancer_address": "127.0.0.1",
            "load_balancer_https_port": server.getsockname()[1],
        }
        outcome = directory.preflight("-e", json.dumps(local), playbook="preflight")

    assert {"site-unknown", "port-in-use"} <= outcome.errors()
    assert "host-checks-failed" not in outcome.ids
    assert outcome.output.count("PROBLEM AND REMEDY") == 1
