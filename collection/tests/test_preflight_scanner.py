"""Mistakes in the settings of Clair are found before any host is touched."""

import pytest
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.certificates import (
    certificate_problems,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.scanner import (
    scanner_problems,
)
from preflight_run import inventory

KEY = "5d0c1a9e7b3f4826" * 4
OLD_KEY = "7b3f48265d0c1a9e" * 4
BUNDLE = {
    "DB_URI": "postgresql://atoll:SECRET-VALUE@db.test:5432/atoll",
    "FEATURE_SECURITY_SCANNER": True,
    "SCANNER_ENDPOINTS": {"usstorage": "http://10.1.0.30:6060"},
    "SECURITY_SCANNER_V4_PSK": KEY,
}
CLAIR = {
    "clair_site": "us",
    "clair_psk": KEY,
    "clair_database_uri": "postgresql://clair:SECRET-VALUE@db.test:5432/clair",
}


@pytest.fixture
def found():
    """Return a function that returns the problems with changed settings."""

    def check(bundle=None, further=None, **clair):
        site = {"registry_site": "us", "registry_storage_preference": ["usstorage", "eustorage"]}
        clairs = {"scan-us": CLAIR | clair} | (further or {})
        groups = {
            "atoll_sites": {"us-1": site | {"registry_config": BUNDLE | (bundle or {})}},
            "atoll_clair": clairs,
        }
        problems = list(scanner_problems(inventory(**groups)))
        assert "SECRET-VALUE" not in str(problems)
        assert KEY not in str(problems)
        return problems

    return check


def test_matching_settings_have_no_problem(found):
    assert found() == []


def test_the_database_of_the_registry_is_an_error(found):
    (problem,) = found(clair_database_uri="postgresql://clair@db.test/atoll")

    assert (problem["id"], problem["severity"]) == ("scanner-database", "error")
    assert problem["problem"].endswith("is the database of the registry (atoll at db.test:5432).")
    assert problem["remedy"].startswith("Clair needs a database of its own.")


@pytest.mark.parametrize(
    ("bundle", "clair"),
    [
        ({"SECURITY_SCANNER_V4_PSK": OLD_KEY}, {}),
        ({"SECURITY_SCANNER_V4_PSK": None}, {}),
        ({}, {"clair_previous_psk": OLD_KEY}),
        ({"SCANNER_PREVIOUS_PSK": OLD_KEY}, {}),
    ],
    ids=["another key", "no key", "previous key only for Clair", "only for the registry"],
)
def test_different_keys_are_an_error(found, bundle, clair):
    assert [one["id"] for one in found(bundle, **clair)] == ["scanner-key-mismatch"]


def test_both_keys_on_both_sides_have_no_problem(found):
    keys = {"SECURITY_SCANNER_V4_PSK": KEY, "SCANNER_PREVIOUS_PSK": OLD_KEY}

    assert found(keys, clair_previous_psk=OLD_KEY) == []


@pytest.mark.parametrize("key", ["not base64!", "c2hvcnQ="])
def test_a_key_that_the_registry_would_refuse_is_an_error(found, key):
    (problem,) = found({"SECURITY_SCANNER_V4_PSK": key}, clair_psk=key)

    assert problem["id"] == "value-invalid"
    assert "openssl rand -hex 32" in problem["remedy"]


def test_a_clair_of_no_site_is_an_error(found):
    (problem,) = found(clair_site="ap")

    assert problem["id"] == "site-unknown"
    assert "Set it to one of us." in problem["remedy"]


def test_a_clair_that_the_registry_does_not_use_is_a_warning(found):
    (problem,) = found({"SCANNER_ENDPOINTS": {"eustorage": "http://10.2.0.30:6060"}})

    assert (problem["id"], problem["severity"]) == ("scanner-endpoint-missing", "warning")


def test_a_second_clair_of_a_site_is_a_warning(found):
    (problem,) = found(further={"scan-us-2": CLAIR})

    assert (problem["id"], problem["host"]) == ("scanner-duplicate", "scan-us-2")


def test_a_registry_that_does_not_scan_yet_has_no_problem(found):
    bundle = {
        "FEATURE_SECURITY_SCANNER": False,
        "SCANNER_ENDPOINTS": {},
        "SECURITY_SCANNER_V4_PSK": None,
    }

    assert found(bundle) == []


@pytest.mark.parametrize(
    "clair",
    [
        {"clair_tls_certificate_file": "/tls/clair.crt"},
        {"clair_extra_ca_files": ["/tls/ca.pem"]},
        {"clair_extra_ca_files": ["/one/ca.crt", "/two/ca.crt"]},
    ],
)
def test_unusable_certificate_files_are_an_error(found, clair):
    assert [one["id"] for one in found(**clair)] == ["value-invalid"]


def test_a_clair_without_a_certificate_has_no_problem_with_it():
    assert list(certificate_problems(inventory(atoll_clair={"scan-us": CLAIR}))) == []
