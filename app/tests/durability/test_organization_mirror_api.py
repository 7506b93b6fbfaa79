"""Mirrors of organizations are managed by Quay's operations, and each wrong field is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from atoll.auth import users
from atoll.cluster.instances import Heartbeat
from atoll.config import Bundle
from atoll.names import RepositoryName

from ..upstream import listings
from ..upstream.certificates import private_ca
from ..upstream.fault_upstream import FaultUpstream
from .api_client import PASSWORD, ApiClient
from .mirrored import make_robot
from .mirrored_organizations import ORGANIZATION, ROBOT, discover, make_organization
from .sites import MemorySite, make_registry

MIRROR = f"organization/{ORGANIZATION}/mirror"
AUDITOR = "auditor"
SETTINGS: dict[str, object] = {
    "FEATURE_ORG_MIRROR": True,
    "FEATURE_REPO_MIRROR": True,
    "SSRF_ALLOWED_HOSTS": ["127.0.0.1"],
    "GLOBAL_READONLY_SUPER_USERS": [AUDITOR],
}
# As a client of Quay sends it.
NEW: dict[str, Any] = {
    "external_registry_type": "harbor",
    "external_registry_url": "https://harbor.example.com",
    "external_namespace": "my-project",
    "robot_username": ROBOT,
    "visibility": "private",
    "sync_interval": 3600,
    "sync_start_date": "2026-01-01T00:00:00Z",
}
COUNTS = dict.fromkeys(["NEVER_RUN", "SYNC_NOW", "SYNCING", "SUCCESS", "FAIL", "CANCEL", "SKIP"], 0)


@pytest.fixture
def site(make_database: Callable[[], str], tmp_path: Path) -> MemorySite:
    site = make_registry(make_database(), tmp_path, ["us"], SETTINGS)["us"]
    make_organization(site)
    return site


@pytest.fixture
def api(site: MemorySite) -> ApiClient:
    return ApiClient(site)


def logged(site: MemorySite) -> list[tuple[str, dict[str, Any]]]:
    rows = site.database.read(
        "SELECT kind, metadata FROM logentry WHERE kind LIKE 'org_mirror%' AND ip IS NOT NULL"
        " ORDER BY id"
    )
    return [(kind, metadata) for kind, metadata in rows]


def test_a_mirror_is_created_shown_changed_and_deleted(api: ApiClient, site: MemorySite) -> None:
    api.call("GET", MIRROR, status=404)
    for path in ("/sync-now", "/sync-cancel", "/verify", "/plan"):
        api.call("POST", f"{MIRROR}{path}", status=404)
    api.call("GET", f"{MIRROR}/repositories", status=404)
    assert api.call("POST", MIRROR, NEW, status=201) == ""
    shown = api.call("GET", MIRROR)
    assert {name: shown[name] for name in NEW} == NEW
    assert shown["is_enabled"] is True
    assert shown["external_registry_username"] is None
    assert shown["has_external_registry_password"] is False
    assert (shown["external_registry_config"], shown["repository_filters"]) == ({}, [])
    assert (shown["sync_status"], shown["sync_retries_remaining"]) == ("NEVER_RUN", 3)
    assert (shown["sync_expiration_date"], shown["skopeo_timeout"]) == (None, 300)
    assert shown["creation_date"].endswith("Z")
    assert shown["repo_sync_status_counts"] == COUNTS
    assert shown["atoll"]["tags"] == {"rule_kind": "tag_glob_csv", "rule_value": ["*"]}
    assert shown["atoll"]["next_date"] == NEW["sync_start_date"]
    change = {
        "external_registry_username": "robot",
        "external_registry_password": "sesame",
        "repository_filters": ["app", "web-*"],
        "is_enabled": False,
        "atoll": {
            **shown["atoll"],
            "tags": {"rule_kind": "tag_glob_csv", "rule_value": ["3.*", "latest"]},
            "newest": 5,
        },
    }
    assert api.call("PUT", MIRROR, change) == ""
    # As Quay's page does: the fields that GET returned, with empty texts for none.
    api.call("PUT", MIRROR, {**shown, "external_registry_username": "", "atoll": None})
    api.call("PUT", MIRROR, change)
    api.call("PUT", MIRROR, {"external_registry_password": "other"})
    changed = api.call("GET", MIRROR)
    assert changed["external_registry_username"] == "robot"
    assert changed["has_external_registry_password"] is True
    assert "sesame" not in str(changed)
    assert changed["repository_filters"] == ["app", "web-*"]
    assert changed["atoll"]["tags"]["rule_value"] == ["3.*", "latest"]
    assert changed["atoll"]["newest"] == 5
    api.call("DELETE", MIRROR, status=204)
    api.call("DELETE", MIRROR, status=404)
    api.call("PUT", MIRROR, change, status=404)
    entries = logged(site)
    assert [kind for kind, _metadata in entries] == [
        "org_mirror_enabled",
        *["org_mirror_config_changed"] * 4,
        "org_mirror_disabled",
    ]
    reference = "https://harbor.example.com/my-project"
    assert entries[0][1]["external_namespace"] == "my-project"
    assert entries[1][1]["external_reference"] == reference
    assert "sesame" not in str(entries)


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_each_wrong_field_is_named(api: ApiClient, method: str) -> None:
    if method == "PUT":
        api.call("POST", MIRROR, NEW, status=201)
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"external_registry_type": "docker"}, "external_registry_type"),
        ({"external_registry_url": "ftp://harbor.example.com"}, "external_registry_url"),
        ({"external_registry_url": "https://harbor.example.com/path"}, "external_registry_url"),
        ({"external_registry_url": "https://user@harbor.example.com"}, "external_registry_url"),
        ({"external_registry_url": "https://169.254.169.254"}, "external_registry_url"),
        ({"external_registry_url": "harbor"}, "external_registry_url"),
        ({"external_namespace": "../other"}, "external_namespace"),
        ({"external_namespace": ""}, "external_namespace"),
        ({"external_namespace": "a/b"}, "external_namespace"),
        ({"robot_username": "nobody"}, "robot_username"),
        ({"robot_username": "acme+\x1b[31m"}, "robot_username"),
        ({"external_registry_username": "john\n"}, "external_registry_username"),
        (
            {"external_registry_username": "john", "external_registry_password": "\x1b[31m"},
            "external_registry_password",
        ),
        (
            {"external_registry_config": {"proxy": {"http_proxy": "http://x\n:a@x.test:1"}}},
            "external_registry_config.proxy.http_proxy",
        ),
        ({"repository_filters": ["a\npp"]}, "repository_filters"),
        ({"external_registry_url": "https://harbor.example.com\x7f"}, "external_registry_url"),
        ({"visibility": "secret"}, "visibility"),
        ({"sync_interval": 59}, "sync_interval"),
        ({"sync_start_date": "tomorrow"}, "sync_start_date"),
        ({"is_enabled": "perhaps"}, "is_enabled"),
        ({"external_registry_password": "x"}, "external_registry_password"),
        ({"external_registry_config": {"verify_tls": 7}}, "external_registry_config.verify_tls"),
        ({"repository_filters": "app"}, "repository_filters"),
        ({"repository_filters": ["x" * 300]}, "repository_filters"),
        ({"skopeo_timeout": 29}, "skopeo_timeout"),
        ({"skopeo_timeout": 3601}, "skopeo_timeout"),
        ({"atoll": {"tags": {"rule_kind": "other", "rule_value": ["*"]}}}, "atoll.tags.rule_kind"),
        ({"atoll": {"architecture_filter": ["amd64"]}}, "atoll.architecture_filter"),
        ({"atoll": {"colour": "red"}}, "atoll.colour"),
    ]
    for change, field in wrong:
        body = {**NEW, **change} if method == "POST" else change
        response = api.call(method, MIRROR, body, status=400)
        assert response["detail"].startswith(f"{field}: "), response
    if method == "POST":
        for name in NEW:
            body = {key: value for key, value in NEW.items() if key != name}
            assert api.call("POST", MIRROR, body, status=400)["detail"].startswith(f"{name}: ")


def test_only_a_password_that_is_no_header_may_have_lines(api: ApiClient) -> None:
    key = {"external_registry_username": "_json_key", "external_registry_password": "{\n}\n"}
    refused = api.call("POST", MIRROR, {**NEW, **key, "external_registry_type": "quay"}, status=400)
    assert refused["detail"].startswith("external_registry_password: an OAuth token of Quay")
    api.call("POST", MIRROR, {**NEW, **key, "external_registry_type": "oci"}, status=201)


def test_administrators_of_the_organization_manage_its_mirror(
    api: ApiClient, site: MemorySite
) -> None:
    for name in (AUDITOR, "reader"):
        users.create_user(site.database, name, f"{name}@example.com", PASSWORD)
    auditor, reader = ApiClient(site, AUDITOR), ApiClient(site, "reader")
    anonymous = ApiClient(site, None)
    api.call("POST", "organization/other/mirror", NEW, status=404)
    reader.call("POST", MIRROR, NEW, status=403)
    auditor.call("POST", MIRROR, NEW, status=403)
    anonymous.call("POST", MIRROR, NEW, status=401)
    api.call("POST", MIRROR, NEW, status=201)
    auditor.call("GET", MIRROR)
    auditor.call("GET", f"{MIRROR}/repositories")
    reader.call("GET", MIRROR, status=403)
    reader.call("POST", f"{MIRROR}/sync-now", status=403)
    reader.call("DELETE", MIRROR, status=403)


def test_superusers_manage_mirrors_of_organizations_of_others(
    api: ApiClient, site: MemorySite
) -> None:
    users.create_user(site.database, "bob", "bob@example.com", PASSWORD)
    assert users.create_organization(site.database, "bobs", "bob")
    make_robot(site, "bobs+mirror")
    path = "organization/bobs/mirror"
    api.call("POST", path, {**NEW, "robot_username": "bobs+mirror"}, status=201)
    api.call("POST", f"{path}/sync-now", status=204)
    api.call("POST", f"{path}/sync-cancel", status=204)
    assert api.call("GET", path)["sync_status"] == "CANCEL"


def test_requests_and_refusals_are_quays(api: ApiClient, site: MemorySite) -> None:
    api.call("POST", MIRROR, NEW, status=201)
    api.call("POST", MIRROR, NEW, status=400)
    api.call("POST", f"{MIRROR}/sync-now", status=204)
    assert api.call("GET", MIRROR)["sync_status"] == "SYNC_NOW"
    api.call("POST", f"{MIRROR}/sync-cancel", status=204)
    api.call("POST", f"{MIRROR}/sync-cancel", status=400)
    site.database.run("UPDATE orgmirrorconfig SET sync_status = 'SYNCING'", {})
    api.call("POST", f"{MIRROR}/sync-now", status=400)
    assert [kind for kind, _metadata in logged(site)] == [
        "org_mirror_enabled",
        "org_mirror_sync_now_requested",
        "org_mirror_sync_cancelled",
    ]


def test_repositories_are_listed_by_status_and_page(api: ApiClient, site: MemorySite) -> None:
    api.call("POST", MIRROR, NEW, status=201)
    site.graph.repositories.create(RepositoryName(ORGANIZATION, "taken"), "private")
    discover(site, "app", "base", "taken", "web")
    discover(site, "app", "base", "taken")
    site.database.run("UPDATE repomirrorconfig SET sync_status = 'SUCCESS' WHERE is_enabled", {})
    page = api.call("GET", f"{MIRROR}/repositories", query={"limit": 3})
    found = {one["name"]: one for one in page.pop("repositories")}
    assert page == {"page": 1, "limit": 3, "total": 4, "has_next": True}
    assert [one["sync_status"] for one in found.values()] == ["SUCCESS", "SUCCESS", "FAIL"]
    assert found["app"]["quay_repository"] == f"{ORGANIZATION}/app"
    assert found["app"]["last_sync_date"] is None
    assert found["taken"]["quay_repository"] is None
    assert "exists" in found["taken"]["status_message"]
    last = api.call("GET", f"{MIRROR}/repositories", query={"limit": 3, "page": 2})
    assert [one["sync_status"] for one in last["repositories"]] == ["SKIP"]
    assert last["has_next"] is False
    one = api.call("GET", f"{MIRROR}/repositories", query={"status": "SKIP"})
    assert (one["total"], one["repositories"][0]["name"]) == (1, "web")
    api.call("GET", f"{MIRROR}/repositories", query={"limit": 501}, status=400)
    counts = api.call("GET", MIRROR)["repo_sync_status_counts"]
    assert counts == {**COUNTS, "SUCCESS": 2, "FAIL": 1, "SKIP": 1}


def test_the_health_has_the_runs_and_the_discovery(api: ApiClient, site: MemorySite) -> None:
    health = f"{MIRROR}/health"
    users.create_user(site.database, "reader", None, PASSWORD)
    api.call("GET", health, status=404)
    api.call("POST", MIRROR, NEW, status=201)
    ApiClient(site, "reader").call("GET", health, status=403)
    ApiClient(site, None).call("GET", health, status=401)
    graph = site.graph
    Heartbeat(site.database, graph.bundle, "mirror", graph.locations.health).record()
    graph.repositories.create(RepositoryName(ORGANIZATION, "taken"), "private")
    discover(site, "app", "taken", "web")
    discover(site, "app", "taken")
    site.database.run("UPDATE repomirrorconfig SET sync_status = 'SUCCESS'")
    response = api.request("GET", health)
    assert response.status_code == 200, response.text
    assert response.headers["Cache-Control"] == "no-cache, no-store, must-revalidate"
    body = response.json
    counts = {"total": 1, "completed": 1, "skipped": 1, "conflicts": 1}
    assert {name: body["repositories"][name] for name in counts} == counts
    assert body["discovery"].pop("last_success").endswith("Z")
    assert body["discovery"].pop("next_date").endswith("Z")
    assert body["discovery"] == {
        "sync_status": "SUCCESS",
        "is_enabled": True,
        "overdue": False,
        "retries_remaining": 3,
        "reason": None,
        "message": "1 mirrored, 1 skipped, 1 in conflict",
    }
    (issue,) = body["issues"]
    assert issue["message"].startswith("Repository acme/taken is no mirror: a repository with this")
    for unhealthy in (
        "sync_status = 'FAIL', reason = 'auth_failed', retries_remaining = 0",
        "sync_status = 'SUCCESS', last_success_at = now() - interval '1 d'",
    ):
        site.database.run(f"UPDATE orgmirrorconfig SET {unhealthy}")
        body = api.call("GET", health, status=503)
        assert body["healthy"] is False
        assert body["issues"][0]["severity"] == "critical"
        assert f"mirrored organization {ORGANIZATION} " in body["issues"][0]["message"]
    site.database.run("UPDATE orgmirrorconfig SET is_enabled = false")
    assert api.call("GET", health)["healthy"] is True


def test_a_repository_of_a_mirror_is_not_changed_by_itself(
    api: ApiClient, site: MemorySite
) -> None:
    api.call("POST", MIRROR, NEW, status=201)
    discover(site, "app")
    repository = f"repository/{ORGANIZATION}/app"
    assert api.call("GET", repository)["state"] == "MIRROR"
    shown = api.call("GET", f"{repository}/mirror")
    assert shown["external_reference"] == "harbor.example.com/my-project/app"
    for body in ({"is_enabled": False}, {"sync_interval": 1}):
        api.call("PUT", f"{repository}/mirror", body, status=400)
    api.call("DELETE", f"{repository}/mirror", status=400)
    api.call("PUT", f"{repository}/changestate", {"state": "NORMAL"}, status=400)
    api.call("POST", f"{repository}/mirror/sync-now", status=204)
    api.call("DELETE", MIRROR, status=204)
    assert api.call("GET", repository)["state"] == "NORMAL"
    api.call("PUT", f"{repository}/changestate", {"state": "READ_ONLY"})


def test_the_upstream_is_verified_with_the_credentials(api: ApiClient, tmp_path: Path) -> None:
    authority = private_ca(tmp_path)
    with FaultUpstream(authority.server_context()).running() as upstream:
        upstream.listing = listings.quay
        for name in ("app", "web"):
            upstream.repository(f"team/{name}")
        body = {
            **NEW,
            "external_registry_type": "quay",
            "external_registry_url": upstream.url,
            "external_namespace": "team",
            "external_registry_username": "$oauthtoken",
            "external_registry_password": listings.TOKEN,
            "repository_filters": ["w*"],
            "atoll": {"ca_certificate": authority.certificate.read_text()},
        }
        api.call("POST", MIRROR, body, status=201)
        message = "the upstream has 2 repositories, of which 1 are selected"
        expected = {"success": True, "message": message}
        assert api.call("POST", f"{MIRROR}/verify") == expected
        api.call("PUT", MIRROR, {"external_registry_password": "wrong"})
        assert api.call("POST", f"{MIRROR}/verify")["success"] is False


def test_nothing_is_found_without_the_feature(
    make_database: Callable[[], str], tmp_path: Path
) -> None:
    assert Bundle.model_fields["feature_org_mirror"].default is False
    site = make_registry(make_database(), tmp_path, ["us"], {"FEATURE_REPO_MIRROR": True})["us"]
    make_organization(site)
    api = ApiClient(site)
    for method, path in [
        ("GET", ""),
        ("POST", ""),
        ("POST", "/sync-now"),
        ("POST", "/plan"),
        ("GET", "/health"),
        ("GET", "/repositories"),
    ]:
        api.call(method, f"{MIRROR}{path}", NEW if method == "POST" else None, status=404)
