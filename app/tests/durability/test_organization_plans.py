"""A plan of a discovery names what becomes of each repository, and changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from atoll.names import RepositoryName

from ..upstream import fault_upstream as faults
from ..upstream import listings
from ..upstream.certificates import PrivateCa, private_ca
from ..upstream.fault_upstream import FaultUpstream
from .api_client import ApiClient
from .commands import run_command
from .mirrored_organizations import ORGANIZATION, discover, make_organization_mirror
from .sites import MemorySite, make_registry

PLAN = f"organization/{ORGANIZATION}/mirror/plan"


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> PrivateCa:
    return private_ca(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def upstream(ca: PrivateCa) -> Iterator[FaultUpstream]:
    with FaultUpstream(ca.server_context()).running() as running:
        running.listing = listings.quay
        yield running


@pytest.fixture
def site(
    make_database: Callable[[], str], tmp_path: Path, ca: PrivateCa, upstream: FaultUpstream
) -> MemorySite:
    """A site with an organization that mirrors some repositories of the upstream."""
    settings: dict[str, object] = {
        "FEATURE_ORG_MIRROR": True,
        "SSRF_ALLOWED_HOSTS": ["127.0.0.1"],
    }
    site = make_registry(make_database(), tmp_path, ["us"], settings)["us"]
    make_organization_mirror(
        site,
        {
            "external_registry_url": upstream.url,
            "external_registry_password": listings.TOKEN,
            "repository_filters": ["app", "back", "new", "taken"],
            "options": {"ca_certificate": ca.certificate.read_text()},
        },
    )
    return site


def fill(site: MemorySite, upstream: FaultUpstream) -> dict[str, str]:
    """Prepare a repository for each action, and return the actions by name."""
    site.graph.repositories.create(RepositoryName(ORGANIZATION, "taken"), "private")
    discover(site, "app", "back", "gone")
    discover(site, "app", "gone", unselected=["back"])
    for name in ("app", "back", "new", "other", "taken"):
        upstream.repository(f"team/{name}")
    return {
        "new": "create",
        "back": "resume",
        "gone": "skip",
        "taken": "conflict",
        "app": "keep",
        "other": "ignore",
    }


def stored(site: MemorySite) -> list[Any]:
    statements = (
        "SELECT name, state, message FROM orgmirrorrepository ORDER BY name",
        "SELECT name, state FROM repository ORDER BY name",
        "SELECT is_enabled, sync_status, next_at FROM repomirrorconfig ORDER BY id",
        "SELECT sync_status, lease_token, next_at, refusals FROM orgmirrorconfig",
    )
    return [site.database.read(statement) for statement in statements]


def test_a_plan_has_the_action_of_each_repository_that_the_discovery_takes(
    site: MemorySite, upstream: FaultUpstream
) -> None:
    actions = fill(site, upstream)
    before = stored(site)
    plan = ApiClient(site).call("POST", PLAN)
    assert stored(site) == before
    found = {one["name"]: one for one in plan["repositories"]}
    assert {name: one["action"] for name, one in found.items()} == actions
    assert (plan["success"], plan["reason"], plan["message"]) == (True, None, None)
    assert (plan["repositories_listed"], plan["repositories_selected"]) == (5, 4)
    assert plan["actions"] == dict.fromkeys(actions.values(), 1)
    assert found["new"] == {
        "name": "new",
        "action": "create",
        "repository": f"{ORGANIZATION}/new",
        "external_reference": f"{upstream.url.removeprefix('https://')}/team/new",
        "reason": None,
    }
    assert found["gone"]["reason"] == "the upstream no longer lists the repository"
    assert found["other"]["reason"] == "repository_filters do not select the repository"
    assert "exists" in found["taken"]["reason"]
    result = discover(site, "app", "back", "new", "taken", unselected=["other"])
    assert (list(result.created), list(result.resumed)) == (["new"], ["back"])
    assert set(result.conflicts) == {"taken"}


def test_a_plan_of_a_discovery_that_would_fail_has_the_reason(
    site: MemorySite, upstream: FaultUpstream
) -> None:
    api = ApiClient(site)
    discover(site, "app")
    plan = api.call("POST", PLAN)
    assert (plan["success"], plan["reason"]) == (False, "upstream_empty")
    upstream.repository("team/app")
    upstream.fail("listing", faults.status(500))
    assert api.call("POST", PLAN)["reason"] == "server_error"
    site.database.run("UPDATE orgmirrorconfig SET refusals = 3")
    count = upstream.count("listing")
    assert api.call("POST", PLAN)["reason"] == "auth_failed"
    assert upstream.count("listing") == count


def test_a_plan_is_printed(
    site: MemorySite, upstream: FaultUpstream, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("mirror", "organization", "plan", ORGANIZATION)
    actions = fill(site, upstream)
    assert run_command(site, *words) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split() for line in lines[1:-1]]
    assert {row[1].rpartition("/")[2]: row[0] for row in rows} == actions
    assert lines[-1] == (
        "5 repositories listed, 4 selected; 1 to create, 1 to resume, 1 to skip, 1 conflicts"
    )
    assert run_command(site, *words, "--json") == 0
    assert json.loads(capsys.readouterr().out)["success"] is True
    upstream.repositories.clear()
    assert run_command(site, *words) == 1
    assert "the discovery would fail" in capsys.readouterr().err
