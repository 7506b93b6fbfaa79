"""The health of mirrors has Quay's form, and comes from the database."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from atoll.auth import users
from atoll.cluster.instances import Heartbeat
from atoll.names import RepositoryName

from .api_client import PASSWORD, ApiClient
from .mirrored import make_mirror
from .sites import SUPERUSER, MemorySite, make_registry

HEALTH = "repository/mirror/health"


@pytest.fixture
def site(make_database: Callable[[], str], tmp_path: Path) -> MemorySite:
    """A site with five mirrors; three succeeded, one failed, and one is running."""
    changes: dict[str, object] = {"FEATURE_REPO_MIRROR": True, "REPO_MIRROR_WORKER_REPLICAS": 1}
    site = make_registry(make_database(), tmp_path, ["us"], changes)["us"]
    for number in range(5):
        make_mirror(site, RepositoryName(SUPERUSER, f"copy{number}"))
    site.database.run(
        "UPDATE repomirrorconfig SET sync_status = 'SUCCESS', last_success_at = now()"
    )
    _set(site, 3, "sync_status = 'FAIL', retries_remaining = 0")
    _set(site, 4, "sync_status = 'SYNCING'")
    return site


def _set(site: MemorySite, number: int, assignments: str) -> None:
    site.database.run(
        f"UPDATE repomirrorconfig m SET {assignments} FROM repository r"
        " WHERE r.id = m.repository_id AND r.name = %s",
        [f"copy{number}"],
    )


def _start_worker(site: MemorySite) -> None:
    graph = site.graph
    Heartbeat(site.database, graph.bundle, "mirror", graph.locations.health).record()


def _messages(body: dict[str, Any]) -> list[tuple[str, str]]:
    return [(issue["severity"], issue["message"]) for issue in body["issues"]]


def test_few_failures_are_healthy(site: MemorySite) -> None:
    _start_worker(site)
    response = ApiClient(site).request("GET", HEALTH)
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-cache, no-store, must-revalidate"
    body = response.json
    assert body["healthy"] is True
    assert body["workers"] == {"status": "healthy", "active": 1, "configured": 1}
    assert body["repositories"] == {
        "total": 5,
        "syncing": 1,
        "completed": 3,
        "failed": 1,
        "never_run": 0,
    }
    assert body["tags_pending"] == 0
    assert body["last_check"].endswith("Z")
    failed = ("error", "Repository admin/copy3 failed, and has used all retries")
    assert _messages(body) == [failed]


def test_many_failures_are_unhealthy(site: MemorySite) -> None:
    _start_worker(site)
    _set(site, 2, "sync_status = 'FAIL'")
    body = ApiClient(site).call("GET", HEALTH, status=503)
    assert body["healthy"] is False
    critical = ("critical", "40.0% of repositories are failing (threshold: 20.0%)")
    assert _messages(body)[0] == critical


def test_mirrors_that_never_ran_do_not_count(site: MemorySite) -> None:
    _start_worker(site)
    _set(site, 0, "sync_status = 'NEVER_RUN'")
    body = ApiClient(site).call("GET", HEALTH, status=503)
    assert body["issues"][0]["message"].startswith("25.0%")


def test_missing_processes_are_unhealthy(site: MemorySite) -> None:
    body = ApiClient(site).call("GET", HEALTH, status=503)
    assert _messages(body)[0] == ("critical", "0 of 1 mirror processes are running")


def test_disabled_mirrors_do_not_count(site: MemorySite) -> None:
    _start_worker(site)
    _set(site, 3, "is_enabled = false")
    body = ApiClient(site).call("GET", HEALTH)
    assert (body["repositories"]["total"], body["issues"]) == (4, [])


def test_stale_mirrors_are_reported(site: MemorySite) -> None:
    _start_worker(site)
    _set(site, 0, "last_success_at = now() - interval '25 hours'")
    _set(site, 1, "last_success_at = now() - interval '25 hours', sync_interval = 86400")
    warning = ("warning", "Repository admin/copy0 has had no successful run for more than 24 hours")
    assert warning in _messages(ApiClient(site).call("GET", HEALTH))


def test_mirrors_are_listed_in_pages(site: MemorySite) -> None:
    _start_worker(site)
    query = {"detailed": "true", "limit": 2, "offset": 2, "namespace": SUPERUSER}
    repositories = ApiClient(site).call("GET", HEALTH, query=query)["repositories"]
    assert [one["repository"] for one in repositories["details"]] == ["copy2", "copy3"]
    assert repositories["details"][1] == {
        "namespace": SUPERUSER,
        "repository": "copy3",
        "sync_status": "FAIL",
        "is_enabled": True,
        "last_sync": None,
        "retries_remaining": 0,
    }
    assert repositories["pagination"] == {"limit": 2, "offset": 2, "has_more": True}
    ApiClient(site).call("GET", HEALTH, query={"limit": 1001}, status=400)


def test_users_see_the_health_of_their_namespaces(site: MemorySite) -> None:
    users.create_user(site.database, "bob", None, PASSWORD)
    users.create_organization(site.database, "acme", "bob")
    _start_worker(site)
    bob = ApiClient(site, "bob")
    for namespace in ("bob", "acme"):
        body = bob.call("GET", HEALTH, query={"namespace": namespace})
        assert body["repositories"]["total"] == 0
    bob.call("GET", HEALTH, status=403)
    bob.call("GET", HEALTH, query={"namespace": SUPERUSER}, status=403)
    bob.call("GET", "superuser/mirror/health", status=403)
    ApiClient(site, None).call("GET", HEALTH, status=401)


def test_superusers_see_counts(site: MemorySite) -> None:
    _start_worker(site)
    body = ApiClient(site).call("GET", "superuser/mirror/health")
    assert (body["healthy"], body["repositories"]["failed"]) == (True, 1)
    assert "issues" not in body
