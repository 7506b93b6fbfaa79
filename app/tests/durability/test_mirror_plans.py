"""The plan of a mirror names what the next run does, and changes nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from atoll.auth import users
from atoll.mirroring.mirrors import MirrorChange
from atoll.mirroring.status import RunStatus
from atoll.names import RepositoryName
from atoll.upstream.reference import UpstreamReference

from ..integration.services import wait_until
from ..upstream.certificates import PrivateCa
from ..upstream.clients import USER
from ..upstream.content import UpstreamRepository
from ..upstream.fault_upstream import FaultUpstream, too_many_requests
from .api_client import PASSWORD, ApiClient
from .commands import run_command
from .mirrored import last_run, make_mirror, mirrors
from .sites import SUPERUSER, MemorySite, make_registry

NAME = RepositoryName(SUPERUSER, "app")
PATH = f"repository/{NAME}/mirror/plan"
SETTINGS: dict[str, object] = {"FEATURE_REPO_MIRROR": True, "SSRF_ALLOWED_HOSTS": ["127.0.0.1"]}
# Slots of an upstream without limits in the bundle.
_SLOTS = 4
# Longer than any wait that can succeed.
_PATIENCE = 120.0
RULES: list[MirrorChange] = [
    {"root_rule": ["1.*"], "options": {"delete_after": 0}},
    {"options": {"exclude": ["*-rc*", "1.0"]}},
    {"options": {"semver": [">=1.1 <3"], "delete_limit": 1}},
    {"options": {"newest": 1, "delete_limit": 1}},
    {"options": {"newest": 2, "newest_by": "created", "delete_after": 0}},
    {"options": {"max_age": 1, "delete_limit": 1}},
]


@pytest.fixture
def there(upstream: FaultUpstream) -> UpstreamRepository:
    repository = upstream.repository()
    for tag in ("1.0", "1.1", "1.2-rc1", "2.0", "latest"):
        repository.add_image(tag)
    return repository


@pytest.fixture
def site(make_database: Callable[[], str], tmp_path: Path) -> MemorySite:
    return make_registry(make_database(), tmp_path, ["us"], SETTINGS)["us"]


def create(site: MemorySite, ca: PrivateCa, upstream: FaultUpstream) -> None:
    make_mirror(
        site,
        NAME,
        {
            "external_reference": f"{upstream.host}/team/app",
            "external_registry_username": USER.username,
            "external_registry_password": USER.password,
            "sync_interval": 0,
            "options": {"ca_certificate": ca.certificate.read_text()},
        },
    )


@pytest.fixture
def worker(site: MemorySite, ca: PrivateCa, upstream: FaultUpstream) -> Iterator[None]:
    """A mirror that runs on request, and a worker."""
    create(site, ca, upstream)
    mirroring = site.graph.mirror_workers(copies=4, watch_seconds=0.2)
    mirroring.start()
    yield
    mirroring.stop()


def sync(site: MemorySite) -> RunStatus:
    """Request a run, and return it when it has ended."""
    mirrors(site).request_sync(NAME)
    deadline = time.monotonic() + _PATIENCE
    while mirrors(site).find(NAME).status in {"NEVER_RUN", "SYNC_NOW", "SYNCING"}:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return last_run(site, NAME)


def tags(site: MemorySite) -> dict[str, int]:
    """Return the rows of the current tags."""
    rows = site.database.read("SELECT name, id FROM tag WHERE lifetime_end_ms IS NULL")
    return dict(rows)


def holders(site: MemorySite) -> set[str]:
    """Return the holders of shares in upstreams."""
    return {row[0] for row in site.database.read("SELECT holder::text FROM upstreamlease")}


def plan(site: MemorySite) -> Any:
    return ApiClient(site).call("POST", PATH)


@pytest.mark.usefixtures("worker")
def test_each_run_does_what_its_plan_says(site: MemorySite, there: UpstreamRepository) -> None:
    for number, change in enumerate(RULES):
        mirrors(site).change(NAME, {"root_rule": ["*"], **change})
        if number == 1:
            there.add_image("2.0")
        if number == 4:
            del there.tags["1.1"]
        before = tags(site)
        planned = plan(site)
        assert planned["success"], planned
        assert tags(site) == before
        run = sync(site)
        after = tags(site)
        copied = {one["tag"] for one in planned["copied"]}
        ended = {one["tag"] for one in planned["ended"]}
        assert copied == {tag for tag in after if after[tag] != before.get(tag)}, change
        assert ended == before.keys() - after.keys(), change
        counts = ("tags_copied", "tags_unchanged")
        assert [planned[name] for name in counts] == [getattr(run, name) for name in counts]
        assert (planned["tags_selected"], planned["tags_ended"]) == (
            run.tags_total,
            run.tags_deleted,
        )
        assert planned["bytes"] is None


@pytest.mark.usefixtures("worker")
def test_a_tag_that_is_gone_is_kept_for_a_while(
    site: MemorySite, there: UpstreamRepository
) -> None:
    sync(site)
    del there.tags["1.1"]
    assert plan(site)["postponed"] == [{"tag": "1.1", "until": None}]
    sync(site)
    planned = plan(site)
    assert (planned["tags_ended"], planned["tags_postponed"]) == (0, 1)
    assert planned["postponed"][0]["until"] is not None


def test_a_plan_that_fails_has_the_reason(
    site: MemorySite,
    ca: PrivateCa,
    upstream: FaultUpstream,
    there: UpstreamRepository,
    capsys: pytest.CaptureFixture[str],
) -> None:
    create(site, ca, upstream)
    upstream.fail("tags", too_many_requests("20"))
    planned = plan(site)
    assert (planned["success"], planned["tags_listed"]) == (False, 0)
    assert planned["reason"] == "rate_limited"
    # The pause that the upstream asked for applies to all processes.
    assert plan(site)["reason"] == "rate_limited"
    assert upstream.count("tags") == 1
    site.database.run("UPDATE upstream SET blocked_until = now()")
    assert run_command(site, "mirror", "plan", str(NAME)) == 0
    table = capsys.readouterr().out
    assert all(len(line) <= 80 for line in table.splitlines())
    assert [line.split()[:2] for line in table.splitlines()[1:-1]] == [
        ["copy", tag] for tag in sorted(there.tags)
    ]
    ApiClient(site).call("PUT", f"repository/{NAME}/changestate", {"state": "NORMAL"})
    assert run_command(site, "mirror", "plan", str(NAME), "--json") == 1
    assert json.loads(capsys.readouterr().out)["reason"] == "robot_not_allowed"
    assert site.database.read("SELECT count(*) FROM mirrorrun") == [[0]]


def test_a_plan_waits_while_others_use_all_slots_of_the_upstream(
    site: MemorySite, ca: PrivateCa, upstream: FaultUpstream, there: UpstreamRepository
) -> None:
    create(site, ca, upstream)
    reference = UpstreamReference.parse(f"{upstream.host}/team/app")
    settings = mirrors(site).settings(mirrors(site).find(NAME))
    budget = site.graph.upstream_budgets.budget(reference, settings.access)
    with ThreadPoolExecutor(1) as executor:
        with ExitStack() as others:
            for _ in range(_SLOTS):
                others.enter_context(budget.request(counts=False))
            before = holders(site)
            planning = executor.submit(plan, site)
            deadline = time.monotonic() + _PATIENCE
            while not (waiting := holders(site) - before):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            assert not planning.done()
            assert upstream.requests == []

        def ended() -> bool:
            # As the listener of a worker does every few seconds.
            budget.release()
            return planning.done()

        wait_until("the plan ended", ended)
        assert planning.result(_PATIENCE)["tags_copied"] == len(there.tags)
    # Its share was returned.
    assert not holders(site) & waiting


def test_only_administrators_plan(site: MemorySite, ca: PrivateCa, upstream: FaultUpstream) -> None:
    create(site, ca, upstream)
    users.create_user(site.database, "bob", None, PASSWORD)
    ApiClient(site, None).call("POST", PATH, status=401)
    ApiClient(site, "bob").call("POST", PATH, status=403)
    ApiClient(site).call("POST", f"repository/{SUPERUSER}/none/mirror/plan", status=404)
