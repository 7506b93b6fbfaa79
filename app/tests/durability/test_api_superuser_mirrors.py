"""Operators list the mirrors of all namespaces by the API, and the use of their upstreams."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from atoll.auth import users

from .api_client import PASSWORD, ApiClient
from .mirrored_organizations import discover, make_organization_mirror
from .mirrors import add_mirror, add_run, add_task
from .sites import SUPERUSER, MemorySite, make_registry

AUDITOR, READER = "auditor", "reader"
LISTS = ("superuser/mirrors", "superuser/mirrors/organizations", "superuser/mirrors/upstreams")
SETTINGS: dict[str, object] = {
    "FEATURE_REPO_MIRROR": True,
    "FEATURE_ORG_MIRROR": True,
    "GLOBAL_READONLY_SUPER_USERS": [AUDITOR],
    "UPSTREAM_LIMITS": {"docker.io": {"requests": "100/6h", "concurrent": 3}},
}


@pytest.fixture
def site(make_database: Callable[[], str], tmp_path: Path) -> MemorySite:
    return make_registry(make_database(), tmp_path, ["us"], SETTINGS)["us"]


def pages(client: ApiClient, path: str, key: str, limit: int) -> list[list[dict[str, Any]]]:
    """Return all pages of a list."""
    found, query = [], {"limit": limit}
    while True:
        page = client.call("GET", path, query=query)
        found.append(page[key])
        if "next_page" not in page:
            return found
        query["next_page"] = page["next_page"]


def test_only_superusers_and_auditors_list_mirrors(site: MemorySite) -> None:
    for name in (AUDITOR, READER):
        users.create_user(site.database, name, f"{name}@example.com", PASSWORD)
    for user, status in ((SUPERUSER, 200), (AUDITOR, 200), (READER, 403), (None, 401)):
        client = ApiClient(site, user)
        for path in LISTS:
            client.call("GET", path, status=status)


def test_mirrors_are_listed_by_repository_with_their_state(site: MemorySite) -> None:
    late = datetime.now(UTC) - timedelta(days=1)
    failed = {"sync_status": "FAIL", "reason": "auth_failed", "status_message": "refused"}
    broken = add_mirror(site.database, "broken", last_success_at=late, **failed)
    add_run(site.database, broken, outcome="FAIL")
    running = add_mirror(site.database, "running")
    run = add_run(site.database, running, tags_total=4, tags_unchanged=1, tags_failed=2)
    add_task(site.database, run, "v1")
    add_mirror(site.database, "new")
    client = ApiClient(site)
    found = pages(client, "superuser/mirrors", "mirrors", 2)
    names = [[one["repository"] for one in page] for page in found]
    assert names == [["admin/broken", "admin/new"], ["admin/running"]]
    one, new = found[0]
    assert (one["sync_status"], one["reason"], one["message"]) == ("FAIL", "auth_failed", "refused")
    assert one["overdue"] is True
    assert one["last_success_date"] == late.isoformat()
    assert one["last_run_date"] > one["last_success_date"]
    assert one["run"] is None
    assert (new["sync_status"], new["overdue"], new["of_organization"]) == (
        *("NEVER_RUN", False, False),
    )
    progress = found[1][0]["run"]
    assert (progress["tags_total"], progress["tags_done"], progress["tags_failed"]) == (4, 3, 2)
    failing = client.call("GET", "superuser/mirrors", query={"status": "FAIL"})["mirrors"]
    assert [one["repository"] for one in failing] == ["admin/broken"]
    client.call("GET", "superuser/mirrors", query={"status": "LATE"}, status=400)


def test_mirrors_of_organizations_are_listed_with_their_repositories(site: MemorySite) -> None:
    make_organization_mirror(site)
    discover(site, "app", "web")
    client = ApiClient(site)
    (one,) = client.call("GET", "superuser/mirrors/organizations")["mirrors"]
    assert (one["organization"], one["external_reference"]) == (
        *("acme", "https://quay.example.com/team"),
    )
    assert one["sync_status"] == "SUCCESS"
    assert one["last_success_date"] is not None
    counts = one["repo_sync_status_counts"]
    assert counts["NEVER_RUN"] + counts["SYNC_NOW"] == 2
    mirrors = client.call("GET", "superuser/mirrors")["mirrors"]
    assert [(one["repository"], one["of_organization"]) for one in mirrors] == [
        ("acme/app", True),
        ("acme/web", True),
    ]
    assert client.call("GET", "repository/acme/app/mirror")["atoll"]["of_organization"] is True
    query = {"next_page": "acme"}
    assert client.call("GET", "superuser/mirrors/organizations", query=query) == {"mirrors": []}


def test_upstreams_have_their_remaining_pulls_and_pauses(site: MemorySite) -> None:
    site.database.run(
        "INSERT INTO upstream (host, account, route, remaining, allowance, remaining_at,"
        " blocked_until, pulls, period_ends) VALUES"
        " ('registry-1.docker.io', 'user', '', 76, 100, now(), now() + interval '1 min', 63,"
        "  now() + interval '1 h'),"
        " ('registry-1.docker.io', '', '', NULL, NULL, NULL, NULL, 63, now() - interval '1 h'),"
        " ('up.test', '', 'x', NULL, NULL, NULL, now() - interval '1 min', 0, NULL);"
        " INSERT INTO upstreamlease SELECT id, gen_random_uuid(), 2, 3, 2, NULL, now() + t"
        " FROM upstream, (VALUES (interval '1 hour'), ('1 hour'), ('-1 hour')) AS leases (t)"
        " WHERE account = 'user'"
    )
    client = ApiClient(site)
    anonymous, hub, other = client.call("GET", "superuser/mirrors/upstreams")["upstreams"]
    now = datetime.now(UTC)
    assert (hub["registry"], hub["account"], hub["own_route"]) == ("docker.io", "user", False)
    assert datetime.fromisoformat(hub["paused_until"]) > now
    assert (hub["announced_remaining"], hub["announced_limit"]) == (76, 100)
    assert (hub["pulls_limit"], hub["pulls_remaining"]) == (100, 37)
    assert datetime.fromisoformat(hub["pulls_reset_date"]) > now
    assert (hub["concurrent_limit"], hub["in_use"], hub["wanted"], hub["processes"]) == (3, 4, 6, 2)
    # A period that ended limits nothing.
    assert (anonymous["pulls_remaining"], anonymous["pulls_reset_date"]) == (100, None)
    assert (other["own_route"], other["paused_until"], other["pulls_limit"]) == (True, None, None)
    found = pages(client, "superuser/mirrors/upstreams", "upstreams", 1)
    assert [one["account"] for (one,) in found] == ["", "user", ""]


def test_lists_without_mirroring_do_not_exist(
    make_database: Callable[[], str], tmp_path: Path
) -> None:
    client = ApiClient(make_registry(make_database(), tmp_path, ["us"], {})["us"])
    for path in LISTS:
        client.call("GET", path, status=404)
