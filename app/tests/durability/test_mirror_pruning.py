"""Old runs of mirrors are deleted."""

from __future__ import annotations

import pytest
from atoll.mirroring.runs import run_pruning
from atoll.mirroring.runs.run_pruning import RUNS_MAXIMUM, RunPruning
from atoll.server.maintenance import activities

from .mirrors import add_mirror, add_run
from .sites import MemoryRegistry, MemorySite

_MORE = """
INSERT INTO mirrorrun (mirror_id, cause, site, instance, outcome, started_at, finished_at)
SELECT %(mirror)s, 'schedule', 'us', 'host', %(outcome)s, at, at
FROM generate_series(1, %(count)s) AS number,
    LATERAL (SELECT now() - make_interval(days => %(days)s) AS at) AS dates
"""


@pytest.fixture
def site(registry: MemoryRegistry) -> MemorySite:
    return registry["us"]


def add_runs(site: MemorySite, mirror: int, count: int, *, days: int, outcome: str) -> None:
    values = {"mirror": mirror, "count": count, "days": days, "outcome": outcome}
    site.database.run(_MORE, values)


def prune(site: MemorySite) -> None:
    pruning = RunPruning(site.database)
    while pruning.step():
        pass


def kept(site: MemorySite, mirror: int) -> list[tuple[str | None, float]]:
    """Return the outcomes and the ages in days of the runs of a mirror, oldest first."""
    rows = site.database.read(
        "SELECT outcome, extract(day FROM now() - started_at)::int FROM mirrorrun"
        " WHERE mirror_id = %s ORDER BY id",
        [mirror],
    )
    return [(outcome, days) for outcome, days in rows]


def test_old_runs_are_deleted_without_the_current_the_latest_and_the_last_successful_one(
    site: MemorySite, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Several batches of mirrors and runs.
    monkeypatch.setattr(run_pruning, "_MIRRORS", 1)
    monkeypatch.setattr(run_pruning, "_DELETED", 2)
    active, idle, running = (add_mirror(site.database, name) for name in ("a", "b", "c"))
    for mirror in (active, idle, running):
        add_runs(site, mirror, 3, days=100, outcome="SUCCESS")
        add_runs(site, mirror, 2, days=95, outcome="FAIL")
    add_runs(site, active, 1, days=89, outcome="FAIL")
    add_run(site.database, running)
    site.database.run(
        "UPDATE mirrorrun SET started_at = now() - interval '91 days' WHERE outcome IS NULL"
    )
    prune(site)
    assert kept(site, active) == [("SUCCESS", 100), ("FAIL", 89)]
    assert kept(site, idle) == [("SUCCESS", 100), ("FAIL", 95)]
    assert kept(site, running) == [("SUCCESS", 100), (None, 91)]


def test_a_mirror_keeps_its_last_thousand_runs(site: MemorySite) -> None:
    mirror = add_mirror(site.database, "app")
    add_runs(site, mirror, 1, days=3, outcome="SUCCESS")
    add_runs(site, mirror, 250, days=2, outcome="FAIL")
    add_runs(site, mirror, RUNS_MAXIMUM, days=1, outcome="FAIL")
    prune(site)
    assert kept(site, mirror) == [("SUCCESS", 3), *[("FAIL", 1)] * RUNS_MAXIMUM]


def test_every_instance_deletes_old_runs(site: MemorySite) -> None:
    assert "mirror-runs" in [activity.name for activity in activities(site.graph)]
