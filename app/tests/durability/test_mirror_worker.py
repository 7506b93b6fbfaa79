"""Mirror workers with an upstream that counts requests and fails on command."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from atoll import round_trips
from atoll.config.upstream_limits import UpstreamLimit
from atoll.mirroring.mirror_records import Mirror
from atoll.mirroring.mirrors import MirrorChange
from atoll.mirroring.workers import MirrorWorkers
from atoll.names import RepositoryName
from atoll.upstream.access import Access
from atoll.upstream.errors import QuotaExhausted
from atoll.upstream.reference import UpstreamReference

from ..upstream import fault_upstream as faults
from ..upstream.certificates import PrivateCa
from ..upstream.clients import USER, upstreams
from ..upstream.content import UpstreamRepository, layer
from ..upstream.fault_upstream import FaultUpstream, Oddities
from .mirrored import last_run, make_mirror, mirrors
from .sites import SUPERUSER, MemoryRegistry, MemorySite

NAME = RepositoryName(SUPERUSER, "app")
# Longer than any wait that can succeed.
_PATIENCE = 120.0


@pytest.fixture
def work(registry: MemoryRegistry, ca: PrivateCa) -> Iterator[Callable[[str], MirrorWorkers]]:
    """Start the worker of a site."""
    started = []

    def start(location: str) -> MirrorWorkers:
        graph = registry[location].graph
        clients = upstreams(ca, make_budget=graph.upstream_budgets.budget)
        mirroring = graph.mirror_workers(copies=4, upstreams=clients, watch_seconds=0.2)
        mirroring.start()
        started.append(mirroring)
        return mirroring

    yield start
    for mirroring in started:
        mirroring.stop()


def create(
    site: MemorySite, upstream: FaultUpstream, change: MirrorChange | None = None
) -> RepositoryName:
    new: MirrorChange = {
        "external_reference": f"{upstream.host}/team/app",
        "external_registry_username": USER.username,
        "external_registry_password": USER.password,
        **(change or {}),
    }
    return make_mirror(site, NAME, new)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def finished(site: MemorySite, status: str) -> Mirror:
    """Wait until the current run of the mirror ended, and return the mirror."""
    until(lambda: mirrors(site).find(NAME).status not in {"NEVER_RUN", "SYNC_NOW", "SYNCING"})
    mirror = mirrors(site).find(NAME)
    assert mirror.status == status, (mirror.row["reason"], mirror.row["status_message"])
    return mirror


def sync(site: MemorySite, status: str = "SUCCESS") -> Mirror:
    mirrors(site).request_sync(NAME)
    return finished(site, status)


def tags(site: MemorySite) -> dict[str, str]:
    rows = site.database.read(
        "SELECT t.name, m.digest FROM tag t JOIN manifest m ON m.id = t.manifest_id"
        " WHERE t.lifetime_end_ms IS NULL"
    )
    return dict(rows)


def test_two_sites_mirror_all_tags_and_switch_each_once(
    site: MemorySite,
    upstream: FaultUpstream,
    there: UpstreamRepository,
    work: Callable[[str], MirrorWorkers],
) -> None:
    digests = {
        f"v{number}": there.add_image(f"v{number}", layers=[layer(number)]) for number in range(12)
    }
    create(site, upstream)
    work("us")
    work("eu")
    mirror = finished(site, "SUCCESS")
    assert tags(site) == digests
    run = last_run(site, mirror.repository)
    assert (run.tags_total, run.tags_copied, run.tags_failed) == (12, 12, 0)
    assert site.database.read("SELECT count(*) FROM tag") == [[12]]
    kinds = site.database.read(
        "SELECT kind, count(*) FROM logentry WHERE kind LIKE 'repo_mirror_sync%' GROUP BY kind"
    )
    assert dict(kinds) == {
        "repo_mirror_sync_started": 1,
        "repo_mirror_sync_tag_success": 12,
        "repo_mirror_sync_success": 1,
    }


def test_an_unchanged_run_sends_head_requests_and_one_listing_only(
    site: MemorySite,
    ca: PrivateCa,
    upstream: FaultUpstream,
    there: UpstreamRepository,
    work: Callable[[str], MirrorWorkers],
) -> None:
    for number in range(20):
        there.add_image(f"v{number}", layers=[layer(number)])
    create(site, upstream)
    first = work("us")
    finished(site, "SUCCESS")
    first.stop()
    upstream.requests.clear()
    stores = {name: dict(store.objects) for name, store in site.stores.items()}
    again = site.graph.mirror_workers(copies=1, upstreams=upstreams(ca))
    mirrors(site).request_sync(NAME)
    round_trips.reset()
    assert again.worker.plan_next()
    # The third one is in a transaction, which is not counted.
    assert round_trips.counts() == {round_trips.DATABASE: 2}
    run = last_run(site, finished(site, "SUCCESS").repository)
    assert (run.tags_unchanged, run.tags_copied) == (20, 0)
    assert upstream.count("manifest", "HEAD") == 20
    assert upstream.count("tags") == 1
    assert upstream.count("manifest", "GET") == upstream.count("blob") == 0
    assert {name: dict(store.objects) for name, store in site.stores.items()} == stores


def test_too_many_requests_pause_all_sites_and_cost_no_retry(
    site: MemorySite,
    upstream: FaultUpstream,
    there: UpstreamRepository,
    work: Callable[[str], MirrorWorkers],
) -> None:
    for number in range(6):
        there.add_image(f"v{number}", layers=[layer(number)])
    create(site, upstream)
    upstream.fail("blob", faults.too_many_requests("1"))
    work("us")
    work("eu")
    mirror = finished(site, "SUCCESS")
    assert len(tags(site)) == 6
    assert mirror.row["retries_remaining"] == 3
    assert last_run(site, mirror.repository).tags_failed == 0


def test_the_requests_of_a_process_obey_upstream_limits(site: MemorySite) -> None:
    graph = copy.copy(site.graph)
    limits = {"registry.example": UpstreamLimit.model_validate({"requests": "2/h"})}
    graph.bundle = graph.bundle.model_copy(update={"upstream_limits": limits})
    mirroring = graph.mirror_workers(copies=1)
    for host, permitted in [("registry.example", 2), ("other.example", 10)]:
        reference = UpstreamReference.parse(f"{host}/team/app")
        budget = mirroring.budgets.budget(reference, Access())
        for _ in range(permitted):
            with budget.request(counts=True):
                pass
        if permitted == 2:
            with pytest.raises(QuotaExhausted), budget.request(counts=True):
                pass


def test_roll_back_changes_all_tags_or_none(
    site: MemorySite,
    upstream: FaultUpstream,
    there: UpstreamRepository,
    work: Callable[[str], MirrorWorkers],
) -> None:
    create(site, upstream, {"options": {"rollback": True}})
    for number in range(4):
        there.add_image(f"v{number}", layers=[layer(number)])
    work("us")
    finished(site, "SUCCESS")
    before = tags(site)
    for number in range(4):
        there.add_image(f"v{number}", layers=[layer(100 + number)])
    upstream.fail("manifest", faults.status(404), path="/manifests/sha256")
    mirror = sync(site, "FAIL")
    assert mirror.row["reason"] == "partial"
    assert tags(site) == before
    sync(site)
    assert len(set(tags(site).values()) - set(before.values())) == 4


def test_best_effort_keeps_the_copied_tags(
    site: MemorySite,
    upstream: FaultUpstream,
    there: UpstreamRepository,
    work: Callable[[str], MirrorWorkers],
) -> None:
    create(site, upstream)
    for number in range(4):
        there.add_image(f"v{number}", layers=[layer(number)])
    upstream.fail("manifest", faults.status(404), path="/manifests/sha256")
    work("us")
    mirror = finished(site, "FAIL")
    assert mirror.row["reason"] == "partial"
    assert len(tags(site)) == 3


def test_tags_end_by_the_rule_at_once_and_after_a_delay_if_the_upstream_lost_them(
    site: MemorySite,
    upstream: FaultUpstream,
    there: UpstreamRepository,
    work: Callable[[str], MirrorWorkers],
) -> None:
    for name in ("a1", "a2", "b1"):
        there.add_image(name, layers=[layer(len(name))])
    create(site, upstream)
    work("us")
    finished(site, "SUCCESS")
    mirrors(site).change(NAME, {"root_rule": ["a*"]})
    sync(site)
    assert set(tags(site)) == {"a1", "a2"}
    del there.tags["a2"]
    sync(site)
    sync(site)
    assert set(tags(site)) == {"a1", "a2"}
    site.database.run("UPDATE mirrortag SET gone_since = gone_since - interval '2 days'")
    assert last_run(site, sync(site).repository).tags_deleted == 1
    assert set(tags(site)) == {"a1"}
    there.tags.clear()
    assert sync(site, "FAIL").row["reason"] == "upstream_empty"
    assert set(tags(site)) == {"a1"}


def test_too_many_deletions_need_a_confirmation(
    site: MemorySite,
    upstream: FaultUpstream,
    there: UpstreamRepository,
    work: Callable[[str], MirrorWorkers],
) -> None:
    for number in range(12):
        there.add_image(f"v{number}", layers=[layer(number)])
    create(site, upstream)
    work("us")
    finished(site, "SUCCESS")
    mirrors(site).change(NAME, {"root_rule": ["v1"]})
    assert sync(site, "FAIL").row["reason"] == "too_many_deletions"
    assert len(tags(site)) == 12
    mirrors(site).confirm_deletions(NAME)
    finished(site, "SUCCESS")
    assert set(tags(site)) == {"v1"}


def test_cancel_ends_a_stalled_transfer_within_seconds(
    site: MemorySite,
    upstream: FaultUpstream,
    there: UpstreamRepository,
    work: Callable[[str], MirrorWorkers],
) -> None:
    there.add_image("latest", layers=[layer(1, 500_000)])
    create(site, upstream)
    upstream.fail("blob", faults.stall(1000), times=None)
    worker = work("us")
    until(lambda: upstream.count("blob"))
    begun = time.monotonic()
    mirrors(site).request_cancel(NAME)
    mirror = finished(site, "CANCEL")
    until(lambda: not worker.worker.busy)
    assert time.monotonic() - begun < 5
    assert mirror.row["next_at"] is not None
    assert tags(site) == {}


def test_a_worker_that_stops_gives_its_work_back(
    site: MemorySite,
    upstream: FaultUpstream,
    there: UpstreamRepository,
    work: Callable[[str], MirrorWorkers],
) -> None:
    there.add_image("latest", layers=[layer(1, 500_000)])
    create(site, upstream)
    upstream.fail("blob", faults.stall(1000), times=None)
    stopping = work("us")
    until(lambda: upstream.count("blob"))
    stopping.stop()
    assert site.database.read("SELECT attempts, lease_token FROM mirrortask") == [[0, None]]
    upstream.recover()
    work("eu")
    finished(site, "SUCCESS")
    assert set(tags(site)) == {"latest"}


def test_refused_credentials_are_sent_three_times_only(
    site: MemorySite, ca: PrivateCa, upstream: FaultUpstream
) -> None:
    upstream.users[USER.username] = USER.password
    upstream.oddities = Oddities(authentication="basic")
    create(site, upstream, {"external_registry_password": "wrong"})
    worker = site.graph.mirror_workers(copies=1, upstreams=upstreams(ca))
    sent = []
    for _ in range(5):
        site.database.run("UPDATE repomirrorconfig SET next_at = now()")
        assert worker.worker.plan_next()
        assert mirrors(site).find(NAME).row["reason"] == "auth_failed"
        sent.append(len(upstream.requests))
    assert sent[0] < sent[1] < sent[2] == sent[3] == sent[4]


@pytest.mark.parametrize("key", ["registry_state", "disable_pushes"])
def test_nothing_is_claimed_while_the_registry_refuses_pushes(
    site: MemorySite,
    upstream: FaultUpstream,
    work: Callable[[str], MirrorWorkers],
    monkeypatch: pytest.MonkeyPatch,
    key: str,
) -> None:
    create(site, upstream)
    value: object = "readonly" if key == "registry_state" else True
    monkeypatch.setitem(site.graph.bundle.__dict__, key, value)
    before = set(threading.enumerate())
    work("us")
    assert set(threading.enumerate()) <= before
    monkeypatch.undo()
    work("us")
    names = {thread.name for thread in set(threading.enumerate()) - before}
    assert {"mirror-plan", "mirror-copy"} <= names
