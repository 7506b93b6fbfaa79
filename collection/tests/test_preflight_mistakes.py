"""A preflight reports all mistakes of an inventory in one run, and touches nothing."""

import pytest
import yaml
from certificate_files import Issuer
from preflight_run import Directory

# The host of each mistake, the id of its problem, and the variables of the host.
MISTAKES = {
    "registry_tasks is text": ("us-1", "value-invalid", {"registry_tasks": "many"}),
    "registry_address is misspelt": ("us-1", "variable-unknown", {"registry_adress": "10.1.0.9"}),
    "metrics on all addresses": ("us-1", "exposed", {"registry_metrics_address": "0.0.0.0"}),
    "image without a digest": ("us-1", "image-invalid", {"registry_image": "atoll:latest"}),
    "another bundle": ("us-2", "bundle-differs", {"registry_config": {"TESTING": True}}),
    "another preference": (
        "us-2",
        "site-inconsistent",
        {"registry_storage_preference": ["eustorage", "usstorage"]},
    ),
    "no such CA file": ("us-2", "file-missing", {"registry_ca_file": "/none/ca.crt"}),
    "a name instead of an address": ("eu-2", "address-invalid", {"registry_address": "eu-2"}),
    "an undefined variable": (
        "eu-2",
        "variable-undefined",
        {"registry_data_directory": "{{ no_such_variable }}/registry"},
    ),
    "no such archive": ("lb-us", "image-invalid", {"load_balancer_image_archive": "/none.tar"}),
    "the port of a site on the same machine": ("lb-us", "port-collision", {}),
    "a load balancer of no site": ("lb-eu", "site-unknown", {"load_balancer_site": "ap"}),
    "a floating address of a host": (
        "lb-eu",
        "floating-address",
        {"keepalived_address": "10.2.0.20"},
    ),
    "a password that can be guessed": ("shared-1", "secret-weak", {"redis_password": "redis"}),
    "another password than in the bundle": ("us-1", "redis-mismatch", {}),
    "a placeholder": ("shared-1", "placeholder", {"postgres_password": "change-me"}),
    "a database open to all": ("shared-1", "exposed", {"postgres_allowed_networks": ["all"]}),
    "an expired certificate": ("shared-1", "certificate-expired", {}),
    "a certificate of another CA": ("shared-1", "certificate-chain", {}),
    "a certificate for another name": ("lb-eu", "certificate-name", {}),
    "a key of another certificate": ("eu-1", "certificate-key-mismatch", {}),
    "a misspelt key": ("us-1", "configuration-key-unknown", {}),
    "an unknown location": ("us-1", "bundle-invalid", {}),
    "a file that is not deployed": ("us-1", "bundle-file-missing", {}),
    "an untrusted load balancer": ("us-1", "trusted-proxies", {}),
    "two primaries": ("controller", "several-postgres-hosts", {}),
    "two caches": ("controller", "several-redis-hosts", {}),
}
BUNDLE = {
    "FEATURE_STORAGE_REPLICATION:": "FEATURE_STORAGE_REPLICATON:",
    "DISTRIBUTED_STORAGE_PREFERENCE: [usstorage": "DISTRIBUTED_STORAGE_PREFERENCE: [apstorage",
    "/conf/stack/database.pem": "/conf/stack/db.pem",
    "{{ groups.atoll_load_balancer | map('extract', hostvars, 'ansible_host') | list }}": (
        "{{ ['10.9.0.1'] }}"
    ),
}


@pytest.fixture
def created(tmp_path):
    return Directory.created(tmp_path)


@pytest.fixture
def mistaken(created, tmp_path):
    """Plant all mistakes in a good inventory."""
    expired = Issuer(tmp_path, "expired", names=["10.1.0.10"], days=(-90, -1))
    tls = "{{ tls_directory }}"
    certificates = {
        "shared-1": {
            "postgres_tls_certificate_file": str(expired.file),
            "postgres_tls_key_file": str(expired.key_file),
        },
        "lb-eu": {
            "load_balancer_tls_certificate_file": f"{tls}/redis.crt",
            "load_balancer_tls_key_file": f"{tls}/redis.key",
        },
        "eu-1": {"registry_tls_key_file": f"{tls}/postgres.key"},
        "lb-us": {"ansible_host": "10.1.0.11"},
    }
    changes = {}
    for host, _identifier, variables in MISTAKES.values():
        changes.setdefault(host, {}).update(variables)
    for host, variables in certificates.items():
        changes.setdefault(host, {}).update(variables)
    for host, variables in changes.items():
        if host != "controller":
            created.write(f"host_vars/{host}.acme.test.yml", variables)
    created.edit("group_vars/all/registry.yml", *BUNDLE.items())
    hosts = yaml.safe_load((created.folder / "hosts.yml").read_text())
    groups = hosts["all"]["children"]["atoll"]["children"]
    for group in ("atoll_postgres", "atoll_redis"):
        groups[group]["hosts"]["shared-2.acme.test"] = {"ansible_host": "10.2.0.10"}
    groups["atoll_load_balancer"]["hosts"]["lb-eu.acme.test"].pop("load_balancer_site")
    groups["atoll_load_balancer"]["hosts"]["lb-us.acme.test"].pop("ansible_host")
    for site in groups["atoll_sites"]["children"].values():
        for name in site["hosts"]:
            preference = site["vars"]["registry_storage_preference"]
            site["hosts"][name]["registry_storage_preference"] = preference
    us = groups["atoll_sites"]["children"]["us"]
    us["hosts"]["us-2.acme.test"].pop("registry_storage_preference")
    created.write("hosts.yml", hosts)
    return created


def test_all_mistakes_are_reported_in_one_run_that_changes_nothing(mistaken):
    before = mistaken.state()

    outcome = mistaken.preflight()

    assert outcome.status != 0
    assert mistaken.state() == before
    found = {
        (item["host"].removesuffix(".acme.test"), item["id"]) for item in outcome.report["problems"]
    }
    expected = {(host, identifier) for host, identifier, _variables in MISTAKES.values()}
    assert len(expected) >= 20
    assert expected <= found
    table = outcome.output.partition("PROBLEM AND REMEDY")[2].partition(" found on ")[0]
    for _host, identifier in expected:
        assert f"Id: {identifier}\n" in table
    assert max(map(len, table.splitlines())) <= 80


def test_a_good_inventory_is_reported_in_one_line(created):
    outcome = created.preflight()

    assert outcome.status == 0, outcome.output
    assert "\nNo problems found on 7 hosts.\n" in outcome.output
    assert "SEVERITY" not in outcome.output
    assert outcome.report["problems"] == []
