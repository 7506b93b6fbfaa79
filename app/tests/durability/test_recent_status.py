"""Pages that are requested all the time cost one small statement while no state changes."""

from __future__ import annotations

from typing import Any

import pytest
from atoll import round_trips
from atoll.cluster.instances import Heartbeat
from atoll.db.pool import Database
from atoll.placement.recent_status import RecentReport
from atoll.placement.status import StatusReport, StatusReporter
from atoll.storage.errors import StoreUnreachable

from .mirror_images import push_image
from .sites import MemorySite


class Recent:
    """A recent report and its clock."""

    def __init__(self, site: MemorySite) -> None:
        self.now = 0.0
        self._report = RecentReport(
            site.database, StatusReporter(site.database).report, monotonic=lambda: self.now
        )

    def get(self, *, after: float = 1.0) -> StatusReport:
        self.now += after
        round_trips.reset()
        return self._report.get()


def statements() -> int:
    return round_trips.counts().get(round_trips.DATABASE, 0)


@pytest.fixture
def recent(site: MemorySite) -> Recent:
    site.locations.health.end_probe("us", None)
    Heartbeat(site.database, site.graph.bundle, "registry", site.locations.health).record()
    return Recent(site)


def test_an_unchanged_status_costs_one_statement(site: MemorySite, recent: Recent) -> None:
    del site
    first = recent.get()
    assert statements() > 1
    assert recent.get() is first
    assert statements() == 1
    assert recent.get(after=0.1) is first
    assert statements() == 0


def test_a_changed_store_location_or_instance_is_seen_at_once(
    site: MemorySite, recent: Recent
) -> None:
    recent.get()
    health = site.locations.health
    heartbeat = Heartbeat(site.database, site.graph.bundle, "replication", health)
    heartbeat.record()
    assert len(recent.get().instances) == 2
    health.observe("us", StoreUnreachable("us", "connection refused"))
    heartbeat.record()
    assert recent.get().down_at("us")
    site.database.run("UPDATE imagestoragelocation SET state = 'draining' RETURNING 1")
    assert {one.state for one in recent.get().locations} == {"draining"}
    site.database.run("UPDATE instance SET seen_at = now() - interval '5 minutes' RETURNING 1")
    assert all(one.lost for one in recent.get().instances)


def test_the_first_and_the_last_pending_copy_are_seen_at_once(
    site: MemorySite, recent: Recent
) -> None:
    assert sum(one.pending_blobs for one in recent.get().locations) == 0
    push_image(site, "new", "new")
    assert sum(one.pending_blobs for one in recent.get().locations) > 0
    site.database.run("UPDATE replicationtask SET last_error = 'refused' RETURNING 1")
    assert sum(one.failing_blobs for one in recent.get().locations) > 0
    site.database.run("DELETE FROM replicationtask RETURNING 1")
    assert sum(one.pending_blobs for one in recent.get().locations) == 0


def test_counts_are_renewed_after_half_a_minute(site: MemorySite, recent: Recent) -> None:
    del site
    first = recent.get()
    assert recent.get(after=29) is first
    assert recent.get(after=2) is not first


def test_one_thread_reads_while_the_others_get_the_last_report(
    site: MemorySite, recent: Recent, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, read = recent.get(), Database.read
    seen: list[tuple[bool, int]] = []
    slow = [True]

    def read_slowly(database: Database, *arguments: Any) -> Any:
        if slow.pop() if slow else False:
            # What another thread gets meanwhile, and for how many statements.
            other = recent.get(after=0)
            seen.append((other is first, statements()))
        return read(database, *arguments)

    monkeypatch.setattr(type(site.database), "read", read_slowly)
    recent.get()
    assert seen == [(True, 0)]
    # An older report is not shown for a database that hangs.
    slow.append(True)
    recent.get(after=10)
    assert seen[1:] == [(True, 1)]
