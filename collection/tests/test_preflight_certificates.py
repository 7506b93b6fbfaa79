"""A preflight verifies certificates as the clients of each component do."""

import pytest
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.certificates import (
    certificate_problems,
    valid_for,
)
from certificate_files import Issuer
from cryptography.hazmat.primitives import serialization
from preflight_run import inventory

BUNDLE = {
    "DB_URI": "postgresql://atoll:password@10.0.0.5:5432,db-2.internal/atoll",
    "DB_CONNECTION_ARGS": {"sslmode": "verify-full"},
    "BUILDLOGS_REDIS": {
        "host": "10.0.0.6",
        "ssl": True,
        "ssl_ca_certs": "/conf/stack/extra_ca_certs/ca.crt",
    },
}
NAMES = {
    "registry": ["registry.internal"],
    "load_balancer": ["registry.internal"],
    "postgres": ["10.0.0.5", "db-2.internal"],
    "redis": ["10.0.0.6"],
}


@pytest.fixture
def ca(tmp_path):
    return Issuer(tmp_path, "ca", ca=True)


@pytest.fixture
def issued(tmp_path, ca):
    """Return a certificate for each component."""
    return {role: Issuer(tmp_path, role, ca, names=names) for role, names in NAMES.items()}


@pytest.fixture
def checked(ca, issued):
    """Return a function that checks an inventory, with some variables changed."""

    def check(**changes):
        variables = {
            "registry_hostname": "registry.internal",
            "registry_config": BUNDLE,
            "registry_ca_file": str(ca.file),
            "registry_database_ca_file": str(ca.file),
            "registry_extra_ca_files": [str(ca.file)],
        }
        for role, certificate in issued.items():
            variables[f"{role}_tls_certificate_file"] = str(certificate.file)
            variables[f"{role}_tls_key_file"] = str(certificate.key_file)
        variables |= changes
        hosts = inventory(
            atoll_sites={"us-1": variables},
            atoll_postgres={"db-1": variables},
            atoll_redis={"db-1": variables},
            atoll_load_balancer={"lb-1": variables},
        )
        return [(item["id"], item["host"]) for item in certificate_problems(hosts)]

    return check


def test_matching_certificates_of_a_private_ca_have_no_problem(checked):
    assert checked() == []


def test_a_key_of_another_certificate_is_an_error(checked, issued):
    found = checked(redis_tls_key_file=str(issued["postgres"].key_file))

    assert found == [("certificate-key-mismatch", "db-1")]


def test_a_key_with_a_passphrase_is_an_error(checked, issued):
    secret = serialization.BestAvailableEncryption(b"passphrase")
    issued["redis"].key_file.write_bytes(issued["redis"].private(secret))

    assert checked() == [("certificate-unreadable", "db-1")]


@pytest.mark.parametrize("content", [b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\nx\n"])
def test_a_file_without_a_certificate_is_an_error(checked, issued, content):
    issued["redis"].file.write_bytes(content)

    assert checked() == [("certificate-unreadable", "db-1")]


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        ((-90, -1), ["certificate-expired"]),
        ((1, 90), ["certificate-not-yet-valid"]),
        ((-60, 29), ["certificate-expires"]),
        ((-60, 31), []),
    ],
)
def test_expiry_is_reported_30_days_before(tmp_path, ca, checked, days, expected):
    made = Issuer(tmp_path, "dated", ca, names=NAMES["redis"], days=days)

    found = checked(
        redis_tls_certificate_file=str(made.file), redis_tls_key_file=str(made.key_file)
    )

    assert [identifier for identifier, _host in found] == expected


@pytest.mark.parametrize(
    ("role", "host"),
    [("registry", "us-1"), ("load_balancer", "lb-1"), ("postgres", "db-1"), ("redis", "db-1")],
)
def test_a_certificate_for_another_name_is_an_error(tmp_path, ca, checked, role, host):
    other = Issuer(tmp_path, "other", ca, names=["other.internal"])
    changes = {
        f"{role}_tls_certificate_file": str(other.file),
        f"{role}_tls_key_file": str(other.key_file),
    }

    found = checked(**changes)

    assert set(found) == {("certificate-name", host)}
    # A database has two names in DB_URI.
    assert len(found) == len(NAMES[role])


@pytest.mark.parametrize("role", ["registry", "postgres", "redis"])
def test_a_certificate_of_another_ca_is_an_error(tmp_path, checked, role):
    stranger = Issuer(tmp_path, "stranger", ca=True)
    other = Issuer(tmp_path, "other", stranger, names=NAMES[role])
    changes = {
        f"{role}_tls_certificate_file": str(other.file),
        f"{role}_tls_key_file": str(other.key_file),
    }

    assert [identifier for identifier, _host in checked(**changes)] == ["certificate-chain"]


def test_a_missing_intermediate_certificate_is_an_error(tmp_path, ca, checked):
    intermediate = Issuer(tmp_path, "intermediate", ca, ca=True)
    leaf = Issuer(tmp_path, "leaf", intermediate, names=NAMES["redis"])
    changes = {
        "redis_tls_certificate_file": str(leaf.file),
        "redis_tls_key_file": str(leaf.key_file),
    }
    without = checked(**changes)

    leaf.file.write_bytes(leaf.pem + intermediate.pem)

    assert without == [("certificate-chain", "db-1")]
    assert checked(**changes) == []


def test_an_expired_ca_is_an_error(tmp_path, checked):
    expired = Issuer(tmp_path, "ca-2", ca=True, days=(-90, -1))
    leaf = Issuer(tmp_path, "leaf", expired, names=NAMES["postgres"])

    found = checked(
        postgres_tls_certificate_file=str(leaf.file),
        postgres_tls_key_file=str(leaf.key_file),
        registry_database_ca_file=str(expired.file),
    )

    assert found == [("certificate-chain", "db-1")]


def test_a_certificate_that_is_no_ca_cannot_issue_others(tmp_path, checked, issued):
    leaf = Issuer(tmp_path, "leaf", issued["postgres"], names=NAMES["redis"])
    leaf.file.write_bytes(leaf.pem + issued["postgres"].pem)

    found = checked(
        redis_tls_certificate_file=str(leaf.file), redis_tls_key_file=str(leaf.key_file)
    )

    assert found == [("certificate-chain", "db-1")]


def test_a_self_signed_certificate_needs_a_file_with_ca_certificates(tmp_path, checked):
    alone = Issuer(tmp_path, "alone", names=NAMES["registry"])

    found = checked(
        registry_tls_certificate_file=str(alone.file),
        registry_tls_key_file=str(alone.key_file),
        registry_ca_file="",
    )

    assert found == [("certificate-chain", "us-1")]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("registry.internal", True),
        ("REGISTRY.internal", True),
        ("a.wild.internal", True),
        ("wild.internal", False),
        ("a.b.wild.internal", False),
        ("10.0.0.5", True),
        ("10.0.0.6", False),
        ("2001:db8::1", True),
        ("[2001:db8::1]", True),
    ],
)
def test_names_are_compared_as_tls_clients_do(tmp_path, ca, name, expected):
    names = ["registry.internal", "*.wild.internal", "10.0.0.5", "2001:db8::1"]
    made = Issuer(tmp_path, "named", ca, names=names)

    assert valid_for(made.certificate, name) is expected
