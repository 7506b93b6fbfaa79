"""The keys of the security scanner are checked, with a remedy for each problem."""

from __future__ import annotations

import base64

import pytest
from atoll.config import check, problems

from .valid_bundle import valid_bundle

KEY = base64.b64encode(bytes(range(32))).decode()
URL = "https://clair.us.example:8443"
ENABLED = {
    "FEATURE_SECURITY_SCANNER": True,
    "SECURITY_SCANNER_V4_PSK": KEY,
    "SCANNER_ENDPOINTS": {"usstorage": URL},
}


def test_a_scanner_of_each_site_or_one_of_all_sites_is_accepted() -> None:
    result = check(valid_bundle(**ENABLED))
    assert (result.problems, result.warnings) == ([], [])
    quay = {**ENABLED, "SCANNER_ENDPOINTS": {}, "SECURITY_SCANNER_V4_ENDPOINT": f"{URL}/"}
    bundle = check(valid_bundle(**quay)).bundle
    assert bundle is not None
    assert bundle.security_scanner_v4_endpoint == URL


def test_the_defaults_are_those_of_quay() -> None:
    bundle = check(valid_bundle()).bundle
    assert bundle is not None
    assert bundle.feature_security_scanner is False
    assert bundle.security_scanner_indexing_interval == 30
    assert bundle.security_scanner_v4_reindex_threshold == 300
    assert bundle.security_scanner_max_scan_retries == 5
    assert bundle.security_scanner_v4_manifest_cleanup is True
    assert bundle.feature_security_notifications is False
    assert bundle.feature_security_scanner_notify_on_new_index is True
    assert bundle.notification_min_severity_on_new_index == "High"


def test_the_feature_requires_an_endpoint() -> None:
    (problem,) = problems(valid_bundle(FEATURE_SECURITY_SCANNER=True))
    assert problem.startswith("FEATURE_SECURITY_SCANNER: ")
    assert "set SCANNER_ENDPOINTS" in problem


def test_an_endpoint_belongs_to_a_location() -> None:
    (problem,) = problems(valid_bundle(**{**ENABLED, "SCANNER_ENDPOINTS": {"asia": URL}}))
    assert problem.startswith("SCANNER_ENDPOINTS: 'asia' is not a location")


@pytest.mark.parametrize(
    "url",
    ["clair.example", "ftp://clair.example", "https://", "https://user:secret@clair.example", ""],
)
def test_an_endpoint_that_is_no_http_server_is_refused_without_its_password(url: str) -> None:
    for wrong in (
        {**ENABLED, "SCANNER_ENDPOINTS": {"usstorage": url}},
        {**ENABLED, "SECURITY_SCANNER_V4_ENDPOINT": url},
    ):
        (problem,) = problems(valid_bundle(**wrong))
        assert "must" in problem
        assert "secret" not in problem


@pytest.mark.parametrize("name", ["SECURITY_SCANNER_V4_PSK", "SCANNER_PREVIOUS_PSK"])
@pytest.mark.parametrize("key", ["no base64 !", base64.b64encode(bytes(31)).decode(), ""])
def test_a_weak_key_is_refused_with_a_remedy(name: str, key: str) -> None:
    (problem,) = problems(valid_bundle(**{**ENABLED, name: key}))
    assert problem.startswith(f"{name}: ")
    assert "openssl rand -base64 32" in problem


def test_a_previous_key_requires_a_present_one() -> None:
    changes = {**ENABLED, "SECURITY_SCANNER_V4_PSK": None, "SCANNER_PREVIOUS_PSK": KEY}
    (problem,) = problems(valid_bundle(**changes))
    assert problem.startswith("SCANNER_PREVIOUS_PSK: ")


@pytest.mark.parametrize(("accepted", "word"), [(False, "refused"), (True, "any client")])
def test_a_scanner_without_a_key_causes_a_warning(accepted: bool, word: str) -> None:
    changes = {
        **ENABLED,
        "SECURITY_SCANNER_V4_PSK": None,
        "SCANNER_UNAUTHENTICATED_NOTIFICATIONS": accepted,
    }
    result = check(valid_bundle(**changes))
    assert result.problems == []
    (warning,) = result.warnings
    assert warning.startswith("SECURITY_SCANNER_V4_PSK: ")
    assert word in warning


def test_keys_of_a_disabled_scanner_cause_no_warning() -> None:
    result = check(valid_bundle(**{**ENABLED, "FEATURE_SECURITY_SCANNER": False}))
    assert (result.problems, result.warnings) == ([], [])
