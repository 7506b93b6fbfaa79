"""Every periodic statement uses an index with ten million rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from atoll.cluster.instances import Heartbeat
from atoll.placement.checks.plausibility import RecentReads
from atoll.server.maintenance import activities
from atoll.server.replication_process import worker_activities
from atoll.storage.states import refresh_once

from ..integration.services import wait_until
from .busy_registry import fill
from .large_tables import TEN_MILLION, nodes, pretend_large, problem
from .recording import RecordingDatabase
from .sites import MemorySite, make_registry

ROWS = 10_000


@pytest.fixture
def site(make_database: Callable[[], str], tmp_path: Path) -> MemorySite:
    registry = make_registry(make_database(), tmp_path, ["us", "eu"])
    fill(registry["us"].graph.batch_database, ROWS, spacing=TEN_MILLION // ROWS)
    return registry["us"]


def run_everything_once(site: MemorySite) -> RecordingDatabase:
    """Run each periodic activity of a worker process and return the recorded statements."""
    recording = RecordingDatabase.from_bundle(site.graph.bundle, size=20)
    site.graph.__dict__["database"] = recording
    for activity in [*activities(site.graph), *worker_activities(site.graph, RecentReads())]:
        activity.work()
    refresh_once(site.locations.states, recording)
    Heartbeat(recording, site.graph.bundle, "replication", site.locations.health, None).record()
    worker = site.worker()
    worker.start()
    site.graph.deliverer.start(site.graph.thread_registry)
    site.graph.log_exporter.start(site.graph.thread_registry)
    wait_until(
        "all claimed",
        lambda: all(
            any(f"UPDATE {table}" in sql for sql in recording.recorded)
            for table in ("replicationtask", "notificationdelivery", "logexport")
        ),
    )
    site.graph.deliverer.stop()
    site.graph.log_exporter.stop()
    worker.stop()
    return recording


def test_no_periodic_statement_scans_a_large_table(site: MemorySite) -> None:
    database = site.graph.batch_database
    recording = run_everything_once(site)
    pretend_large(database)
    found = {
        f"{text}\n{' '.join(statement.split())}"
        for statement, plan in recording.plans()
        for node, limited in nodes(plan)
        if (text := problem(node, limited))
    }
    assert not found, "\n\n".join(sorted(found))
