"""Mirrors are managed by Quay's operations, and each wrong field is named."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from atoll.auth import users
from atoll.mirroring.rules.settings import MirrorOptions, RegistryConfig
from atoll.names import RepositoryName
from atoll.web.api.mirror_models import MirrorRule, NewMirror

from ..upstream.certificates import PrivateCa
from ..upstream.clients import USER
from ..upstream.fault_upstream import FaultUpstream, Oddities, too_many_requests
from .api_client import PASSWORD, ApiClient
from .mirrored import ROBOT, make_robot, mirrors
from .sites import SUPERUSER, MemoryRegistry, MemorySite, make_registry

REPOSITORY = "repository/admin/copy"
MIRROR = f"{REPOSITORY}/mirror"
AUDITOR = "auditor"
SETTINGS: dict[str, object] = {
    "FEATURE_REPO_MIRROR": True,
    "FEATURE_SPARSE_INDEX": True,
    "SSRF_ALLOWED_HOSTS": ["127.0.0.1"],
    "GLOBAL_READONLY_SUPER_USERS": [AUDITOR],
}
# As quay_configuration's quay_repository_mirror sends it.
NEW: dict[str, Any] = {
    "is_enabled": True,
    "external_reference": "quay.io/projectquay/quay",
    "external_registry_username": None,
    "external_registry_password": None,
    "sync_interval": 86400,
    "sync_start_date": "2026-01-01T00:00:00Z",
    "root_rule": {"rule_kind": "tag_glob_csv", "rule_value": ["latest", "3.*"]},
    "robot_username": ROBOT,
    "external_registry_config": {
        "verify_tls": True,
        "unsigned_images": False,
        "proxy": {"http_proxy": None, "https_proxy": None, "no_proxy": None},
    },
    "skopeo_timeout_interval": 600,
}


@pytest.fixture
def site(make_database: Callable[[], str], tmp_path: Path) -> MemorySite:
    """A site with the repository `copy` and a robot."""
    site = make_registry(make_database(), tmp_path, ["us"], SETTINGS)["us"]
    site.graph.repositories.create(RepositoryName(SUPERUSER, "copy"), "private")
    make_robot(site)
    return site


@pytest.fixture
def api(site: MemorySite) -> ApiClient:
    return ApiClient(site)


def create(api: ApiClient, **changes: Any) -> None:
    assert api.call("POST", MIRROR, {**NEW, **changes}, status=201) == ""


def logged(site: MemorySite) -> list[tuple[str, Any, Any]]:
    """Return kind, setting and value of the log entries about mirrors."""
    rows = site.database.read(
        "SELECT kind, metadata ->> 'changed', metadata -> 'to' FROM logentry"
        " WHERE kind LIKE 'repo_mirror%' ORDER BY id"
    )
    return [tuple(row) for row in rows]


def test_a_mirror_is_shown_as_it_was_created(api: ApiClient) -> None:
    api.call("GET", MIRROR, status=404)
    create(api)
    shown = api.call("GET", MIRROR)
    assert {name: shown[name] for name in NEW if name in shown} == {
        name: value for name, value in NEW.items() if name != "external_registry_password"
    }
    assert "external_registry_password" not in shown
    assert shown["mirror_type"] == "PULL"
    assert shown["sync_status"] == "NEVER_RUN"
    assert shown["sync_retries_remaining"] == 3
    assert shown["sync_expiration_date"] is None
    assert shown["architecture_filter"] == []
    assert shown["atoll"]["run"] is None
    assert shown["atoll"]["of_organization"] is False
    assert shown["atoll"]["next_date"] == NEW["sync_start_date"]
    assert api.call("GET", REPOSITORY)["state"] == "MIRROR"


def test_the_state_may_be_set_before_the_mirror_exists(api: ApiClient) -> None:
    api.call("PUT", f"{REPOSITORY}/changestate", {"state": "MIRROR"})
    create(api)


def test_optional_fields_have_quays_defaults(api: ApiClient) -> None:
    optional = ("is_enabled", "external_registry_config", "skopeo_timeout_interval")
    credentials = ("external_registry_username", "external_registry_password")
    body = {key: one for key, one in NEW.items() if key not in {*optional, *credentials}}
    api.call("POST", MIRROR, body, status=201)
    shown = api.call("GET", MIRROR)
    assert shown["is_enabled"] is True
    assert shown["external_registry_config"] == {}
    assert shown["external_registry_username"] is None
    assert shown["skopeo_timeout_interval"] == 300


def test_a_second_mirror_is_a_conflict(api: ApiClient) -> None:
    create(api)
    assert "already" in api.call("POST", MIRROR, NEW, status=409)["detail"]


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"is_enabled": "sometimes"}, "is_enabled"),
    ({"external_reference": ""}, "external_reference"),
    ({"external_reference": "https://quay.io/a/b"}, "external_reference"),
    ({"external_reference": "quay.io/a/b:latest"}, "external_reference"),
    ({"external_reference": "quay.io/a/b?x"}, "external_reference"),
    ({"external_reference": "quay.io"}, "external_reference"),
    ({"external_reference": "127.0.0.2/a/b"}, "external_reference"),
    ({"external_registry_username": 5}, "external_registry_username"),
    ({"external_registry_username": "john\n"}, "external_registry_username"),
    (
        {"external_registry_username": "john", "external_registry_password": "\x1b[31m"},
        "external_registry_password",
    ),
    ({"external_registry_password": "x"}, "external_registry_password"),
    (
        {"external_registry_username": None, "external_registry_password": "x"},
        "external_registry_password",
    ),
    ({"external_registry_config": []}, "external_registry_config"),
    ({"external_registry_config": {"verify_tls": "x"}}, "external_registry_config.verify_tls"),
    (
        {"external_registry_config": {"proxy": {"http_proxy": "ftp://x"}}},
        "external_registry_config.proxy",
    ),
    (
        {"external_registry_config": {"proxy": {"http_proxy": "http://10.0.0.1:3128"}}},
        "external_registry_config.proxy",
    ),
    (
        {"external_registry_config": {"proxy": {"http_proxy": "http://user:pass/word@x:1"}}},
        "external_registry_config.proxy",
    ),
    ({"sync_interval": -1}, "sync_interval"),
    ({"sync_interval": 2**31}, "sync_interval"),
    ({"sync_interval": None}, "sync_interval"),
    ({"sync_start_date": "2026-01-01T00:00:00.123Z"}, "sync_start_date"),
    ({"sync_start_date": "2026-02-30T00:00:00Z"}, "sync_start_date"),
    ({"sync_start_date": "9999-01-01T00:00:00Z"}, "sync_start_date"),
    ({"robot_username": None}, "robot_username"),
    ({"robot_username": "other\x7f+robot"}, "robot_username: must not contain control"),
    ({"robot_username": "other+robot"}, "robot_username"),
    ({"root_rule": {"rule_kind": "tag_glob_csv", "rule_value": []}}, "root_rule.rule_value"),
    ({"root_rule": {"rule_kind": "tag_glob_csv", "rule_value": [","]}}, "root_rule.rule_value"),
    ({"root_rule": {"rule_kind": "tag_glob_csv", "rule_value": ["a\nb"]}}, "root_rule.rule_value"),
    ({"root_rule": {"rule_kind": "regex", "rule_value": ["x"]}}, "root_rule.rule_kind"),
    ({"skopeo_timeout_interval": 299}, "skopeo_timeout_interval"),
    ({"architecture_filter": ["sparc"]}, "architecture_filter"),
    ({"atoll": {"newest": 0}}, "atoll.newest"),
    ({"atoll": {"semver": ["latest"]}}, "atoll.semver"),
    ({"atoll": {"ca_certificate": "x"}}, "atoll.ca_certificate"),
    ({"atoll": {"unknown": 1}}, "atoll.unknown"),
    ({"atoll": []}, "atoll"),
    ({"atoll": {"exclude": ["a b"]}}, "atoll.exclude"),
    ({"atoll": {"newest_by": "size"}}, "atoll.newest_by"),
    ({"atoll": {"max_age": 0}}, "atoll.max_age"),
    ({"atoll": {"hours": "25:00-26:00"}}, "atoll.hours"),
    ({"atoll": {"hours": "22:00-06:00\n"}}, "atoll.hours"),
    ({"atoll": {"semver": [">=1\x1f"]}}, "atoll.semver"),
    ({"atoll": {"referrers": ["no type"]}}, "atoll.referrers"),
    ({"atoll": {"rollback": "x"}}, "atoll.rollback"),
    ({"atoll": {"delete_after": -1}}, "atoll.delete_after"),
    ({"atoll": {"delete_limit": 2}}, "atoll.delete_limit"),
    ({"atoll": {"immutable_tags": "v1"}}, "atoll.immutable_tags"),
    (
        {"external_registry_config": {"unsigned_images": "x"}},
        "external_registry_config.unsigned_images",
    ),
    ({"external_registry_config": {"proxy": 1}}, "external_registry_config.proxy"),
    (
        {"external_registry_config": {"proxy": {"https_proxy": "http://"}}},
        "external_registry_config.proxy",
    ),
    (
        {"external_registry_config": {"proxy": {"no_proxy": 1}}},
        "external_registry_config.proxy.no_proxy",
    ),
    (
        {"external_registry_config": {"proxy": {"no_proxy": "a.test\r\n"}}},
        "external_registry_config.proxy.no_proxy",
    ),
    (
        {"external_registry_config": {"proxy": {"https_proxy": "http://john\n:a@x.test:1"}}},
        "external_registry_config.proxy.https_proxy",
    ),
]


def test_a_wrong_value_of_each_field_is_tested() -> None:
    tested = {field for _wrong, field in WRONG}
    fields = {*NewMirror.model_fields} - {"root_rule"}
    fields |= {f"root_rule.{name}" for name in MirrorRule.model_fields}
    fields |= {f"external_registry_config.{name}" for name in RegistryConfig.model_fields}
    fields |= {f"atoll.{name}" for name in MirrorOptions.model_fields}
    assert fields - tested == set()


@pytest.mark.parametrize("present", [False, True], ids=["new", "changed"])
def test_each_wrong_field_is_named_and_changes_nothing(api: ApiClient, *, present: bool) -> None:
    if present:
        create(api)
    before = api.request("GET", MIRROR).text
    for wrong, field in WRONG:
        body = {**({} if present else NEW), "sync_interval": 60, **wrong}
        refused = api.call("PUT" if present else "POST", MIRROR, body, status=400)
        assert refused["detail"].startswith(field), (wrong, refused["detail"])
        assert "10.0.0.1" not in refused["detail"]
    assert api.request("GET", MIRROR).text == before


@pytest.mark.parametrize("missing", ["external_reference", "sync_interval", "robot_username"])
def test_required_fields_are_named(api: ApiClient, missing: str) -> None:
    body = {name: value for name, value in NEW.items() if name != missing}
    assert api.call("POST", MIRROR, body, status=400)["detail"].startswith(missing)


def test_a_change_keeps_all_other_settings(site: MemorySite, api: ApiClient) -> None:
    create(
        api,
        external_registry_username="reader",
        external_registry_password="sesame",
        atoll={"newest": 3, "exclude": ["*-rc*"]},
    )
    before = api.call("GET", MIRROR)
    api.call("PUT", MIRROR, {"sync_interval": 60, "atoll": {"newest": None}}, status=201)
    after = api.call("GET", MIRROR)
    assert after["sync_interval"] == 60
    assert (after["atoll"]["newest"], after["atoll"]["exclude"]) == (None, ["*-rc*"])
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"sync_interval", "atoll"}
    assert "sesame" not in str(logged(site))


def test_a_response_may_be_sent_as_a_change(site: MemorySite, api: ApiClient) -> None:
    create(api, architecture_filter=["amd64", "arm64"], atoll={"hours": "22:00-06:00"})
    entries = logged(site)
    shown = api.call("GET", MIRROR)
    api.call("PUT", MIRROR, shown, status=201)
    assert api.call("GET", MIRROR) == shown
    assert logged(site) == entries


def test_changes_are_logged_without_secrets(site: MemorySite, api: ApiClient) -> None:
    create(api)
    api.call(
        "PUT",
        MIRROR,
        {
            "is_enabled": False,
            "sync_interval": 0,
            "external_registry_username": "reader",
            "external_registry_password": "sesame",
            "external_registry_config": {
                "proxy": {"https_proxy": "http://user:sesame@proxy.example.com:3128"}
            },
        },
        status=201,
    )
    api.call("PUT", MIRROR, {"is_enabled": True}, status=201)
    api.call("POST", f"{MIRROR}/sync-now", status=204)
    api.call("DELETE", MIRROR, status=204)
    config = "repo_mirror_config_changed"
    assert logged(site) == [
        (config, "external_reference", "quay.io/projectquay/quay"),
        ("repo_mirror_disabled", "is_enabled", False),
        (config, "external_registry_username", "reader"),
        (config, "sync_interval", 0),
        (config, "external_registry_password", "********"),
        (
            config,
            "external_registry_config",
            {
                "verify_tls": True,
                "unsigned_images": False,
                "proxy": {"https_proxy": "http://user:********@proxy.example.com:3128"},
            },
        ),
        ("repo_mirror_enabled", "is_enabled", True),
        ("repo_mirror_sync_now_requested", None, None),
        ("repo_mirror_disabled", "mirror", None),
    ]


def test_a_password_of_a_proxy_is_stored_encrypted_and_not_returned(
    site: MemorySite, api: ApiClient
) -> None:
    url = "http://user:s%40same@proxy.example.com:3128"
    shown_url = "http://user:********@proxy.example.com:3128"
    create(api, external_registry_config={"proxy": {"https_proxy": url}})
    stored = str(site.database.read("SELECT row_to_json(m) FROM repomirrorconfig m"))
    shown = api.call("GET", MIRROR)
    assert shown["external_registry_config"]["proxy"]["https_proxy"] == shown_url
    for text in (stored, str(shown), str(logged(site))):
        assert "s%40same" not in text
        assert "s@same" not in text
    entries = logged(site)
    api.call("PUT", MIRROR, shown, status=201)
    assert logged(site) == entries
    mirror = mirrors(site).find(RepositoryName.parse("admin/copy"))
    proxies = mirrors(site).settings(mirror).access.proxies
    assert proxies is not None
    assert proxies.https is not None
    assert proxies.https.authorization == basic("user", "s@same")


@pytest.mark.parametrize(
    "url",
    ["http://user:********@other.example.com:3128", "http://root:********@proxy.example.com:3128"],
)
def test_a_hidden_password_is_not_sent_to_another_proxy(api: ApiClient, url: str) -> None:
    new = {"proxy": {"http_proxy": url}}
    refused = api.call("POST", MIRROR, {**NEW, "external_registry_config": new}, status=400)
    assert refused["detail"].startswith("external_registry_config.proxy: http_proxy needs")
    stored = {"proxy": {"http_proxy": "http://user:sesame@proxy.example.com:3128"}}
    create(api, external_registry_config=stored)
    refused = api.call("PUT", MIRROR, {"external_registry_config": new}, status=400)
    assert refused["detail"].startswith("external_registry_config.proxy: http_proxy needs")


def test_runs_are_requested_and_cancelled(api: ApiClient) -> None:
    for path in ("sync-now", "sync-cancel", "verify", "confirm-deletions"):
        api.call("POST", f"{MIRROR}/{path}", status=404)
    create(api, is_enabled=False)
    api.call("POST", f"{MIRROR}/sync-cancel", status=404)
    api.call("POST", f"{MIRROR}/sync-now", status=204)
    assert api.call("GET", MIRROR)["sync_status"] == "SYNC_NOW"
    api.call("POST", f"{MIRROR}/sync-cancel", status=204)
    assert api.call("GET", MIRROR)["sync_status"] == "CANCEL"
    api.call("POST", f"{MIRROR}/confirm-deletions", status=400)
    api.call("PUT", f"{REPOSITORY}/changestate", {"state": "NORMAL"})
    assert "NORMAL" in api.call("POST", f"{MIRROR}/sync-now", status=400)["detail"]


def test_a_run_in_progress_is_shown(site: MemorySite, api: ApiClient) -> None:
    create(api)
    run_of(site, tags_total=5, tags_unchanged=1, tags_copied=1)
    api.call("POST", f"{MIRROR}/sync-now", status=404)
    shown = api.call("GET", MIRROR)
    run = shown["atoll"]["run"]
    assert shown["sync_status"] == "SYNCING"
    assert (run["cause"], run["tags_total"], run["tags_done"]) == ("schedule", 5, 2)
    assert run["tags_pending"] == 3
    assert run["waiting_until"] is not None
    assert [one["id"] for one in api.call("GET", f"{MIRROR}/runs")["runs"]] == [run["id"]]
    api.call("POST", f"{MIRROR}/sync-cancel", status=204)


def test_tags_are_listed_in_pages(site: MemorySite, api: ApiClient) -> None:
    api.call("GET", f"{MIRROR}/tags", status=404)
    create(api)
    run_of(site)
    first = api.call("GET", f"{MIRROR}/tags", query={"limit": 2})
    assert [one["tag"] for one in first["tags"]] == ["v1", "v2"]
    query = {"limit": 2, "next_page": first["next_page"], "state": "pending"}
    second = api.call("GET", f"{MIRROR}/tags", query=query)
    assert [one["tag"] for one in second["tags"]] == ["v3"]
    assert "next_page" not in second
    assert api.call("GET", f"{MIRROR}/tags", query={"state": "gone"}) == {"tags": []}
    api.call("GET", f"{MIRROR}/tags", query={"state": "x"}, status=400)
    api.call("GET", f"{MIRROR}/runs", query={"limit": 0}, status=400)


def test_a_deleted_mirror_leaves_an_ordinary_repository(api: ApiClient) -> None:
    create(api)
    api.call("DELETE", MIRROR, status=204)
    api.call("GET", MIRROR, status=404)
    api.call("DELETE", MIRROR, status=404)
    assert api.call("GET", REPOSITORY)["state"] == "NORMAL"


def test_only_administrators_and_superusers_have_access(site: MemorySite, api: ApiClient) -> None:
    users.create_user(site.database, "bob", None, PASSWORD)
    users.create_user(site.database, AUDITOR, None, PASSWORD)
    create(api)
    calls = [
        ("GET", MIRROR, None),
        ("PUT", MIRROR, {"sync_interval": 1}),
        ("DELETE", MIRROR, None),
        ("GET", f"{MIRROR}/runs", None),
        ("GET", f"{MIRROR}/tags", None),
        *(
            ("POST", f"{MIRROR}/{path}", None)
            for path in ("sync-now", "sync-cancel", "verify", "plan", "confirm-deletions")
        ),
    ]
    for method, path, body in calls:
        ApiClient(site, "bob").call(method, path, body, status=403)
        ApiClient(site, None).call(method, path, body, status=401)
        reading = method == "GET"
        ApiClient(site, AUDITOR).call(method, path, body, status=200 if reading else 403)
    assert api.call("GET", MIRROR)["sync_interval"] == NEW["sync_interval"]


def test_superusers_manage_mirrors_of_others(site: MemorySite, api: ApiClient) -> None:
    users.create_user(site.database, "bob", None, PASSWORD)
    site.graph.repositories.create(RepositoryName("bob", "copy"), "private")
    make_robot(site, "bob+mirror")
    path = "repository/bob/copy/mirror"
    api.call("POST", path, {**NEW, "robot_username": "bob+mirror"}, status=201)
    assert api.call("GET", path)["robot_username"] == "bob+mirror"
    api.call("GET", "repository/bob/unknown/mirror", status=404)


def test_nothing_is_found_without_the_feature(registry: MemoryRegistry) -> None:
    api = ApiClient(registry["us"])
    registry["us"].graph.repositories.create(RepositoryName(SUPERUSER, "copy"), "private")
    for method, path in [
        ("GET", MIRROR),
        ("POST", MIRROR),
        ("POST", f"{MIRROR}/sync-now"),
        ("POST", f"{MIRROR}/verify"),
        ("GET", "superuser/mirror/health"),
    ]:
        assert api.request(method, path, {} if method == "POST" else None).status_code in {404, 405}


@pytest.fixture
def upstream(ca: PrivateCa) -> Iterator[FaultUpstream]:
    registry = FaultUpstream(ca.server_context(), Oddities(authentication="basic"))
    registry.users[USER.username] = USER.password
    with registry.running() as running:
        for tag in ("v1", "v2"):
            running.repository().add_image(tag)
        yield running


def verify(api: ApiClient) -> dict[str, Any]:
    result: dict[str, Any] = api.call("POST", f"{MIRROR}/verify")
    return result


def test_an_upstream_is_verified_with_its_credentials(
    api: ApiClient, ca: PrivateCa, upstream: FaultUpstream
) -> None:
    create(
        api,
        external_reference=f"{upstream.host}/team/app",
        external_registry_username=USER.username,
        external_registry_password=USER.password,
        atoll={"ca_certificate": ca.certificate.read_text()},
    )
    expected = {"success": True, "message": "the upstream has 2 tags", "tags": 2}
    assert verify(api) == expected
    api.call(
        "PUT",
        MIRROR,
        {"external_registry_username": "reader", "external_registry_password": "wrong"},
        status=201,
    )
    refused = verify(api)
    assert (refused["success"], refused["tags"]) == (False, None)
    assert "wrong" not in refused["message"]


def test_problems_of_an_upstream_are_reported(
    api: ApiClient, ca: PrivateCa, upstream: FaultUpstream
) -> None:
    credentials = {
        "external_registry_username": USER.username,
        "external_registry_password": USER.password,
    }
    create(api, external_reference=f"{upstream.host}/team/app", **credentials)
    assert "TLS" in verify(api)["message"]
    certificate = {"ca_certificate": ca.certificate.read_text()}
    api.call("PUT", MIRROR, {"atoll": certificate}, status=201)
    upstream.fail("tags", too_many_requests("20"))
    assert "20 s" in verify(api)["message"]
    moved = {"external_reference": "unresolvable.invalid/a/b", **credentials}
    api.call("PUT", MIRROR, moved, status=201)
    assert verify(api)["success"] is False


def basic(username: str, password: str) -> str:
    """Return the value of the header for Basic authentication."""
    return f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode()}"


def run_of(site: MemorySite, **counts: int) -> None:
    """Start a run as a worker does; its tags v1 to v3 wait for the upstream."""
    assignments = "".join(f", {name} = {value}" for name, value in counts.items())
    site.database.run(
        "WITH run AS (INSERT INTO mirrorrun (mirror_id, cause, site, instance, planned_at)"
        " SELECT id, 'schedule', 'us', 'one', now() FROM repomirrorconfig RETURNING id),"
        " task AS (INSERT INTO mirrortask (run_id, tag, digest, available_at)"
        " SELECT run.id, 'v' || number, 'sha256:1', now() + interval '1 minute'"
        " FROM run, generate_series(1, 3) AS number)"
        " UPDATE repomirrorconfig SET sync_status = 'SYNCING', run_id = run.id FROM run;"
        f" UPDATE mirrorrun SET cause = cause{assignments}"
    )
