"""Manifests that were pushed before the scanner was turned on get a scan."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from atoll.scanning.backfill import BATCH, ScanBackfill

from .recording import RecordingDatabase
from .security_scans import (
    claim_one,
    insert_many,
    one_site,
    push_image,
    row_of,
    scans_of,
    statuses,
)
from .sites import MemorySite
from .test_periodic_plans import nodes


@pytest.fixture
def site(make_database: Callable[[], str], tmp_path: Path) -> MemorySite:
    return one_site(make_database, tmp_path)


def run_to_the_end(backfill: ScanBackfill) -> int:
    """Return the number of steps."""
    steps = 1
    while not backfill.step().complete:
        steps += 1
    return steps


def test_existing_manifests_get_a_scan_the_oldest_last(site: MemorySite) -> None:
    digests = [push_image(site, number, scans=False) for number in range(4)]
    backfill = ScanBackfill(site.database, batch=1)
    run_to_the_end(backfill)
    scans = scans_of(site)
    assert [claim_one_of(scans) for _ in range(4)] == digests[::-1]


def claim_one_of(scans: Any) -> Any:
    (claim,) = scans.claim(1)
    return claim.digest


def test_a_known_scan_is_left_alone(site: MemorySite) -> None:
    pushed = push_image(site, repository="one")
    push_image(site, repository="two", scans=False)
    scans = scans_of(site)
    scans.scanned(claim_one(scans), "state", {})
    run_to_the_end(ScanBackfill(site.database))
    assert row_of(site, pushed, "index_status, is_backfill") == [2, False]
    assert statuses(site) == [2, 2]


def test_an_interrupted_backfill_resumes_and_a_complete_one_does_nothing(site: MemorySite) -> None:
    for number in range(5):
        push_image(site, number, scans=False)
    first = ScanBackfill(site.database, batch=2).step()
    assert (first.requested, first.remaining, first.total, first.complete) == (2, 3, 5, False)
    assert run_to_the_end(ScanBackfill(site.database, batch=2)) == 2
    assert len(statuses(site)) == 5
    recording = RecordingDatabase.from_bundle(site.graph.bundle, size=1)
    ScanBackfill(recording).step()
    assert len(recording.recorded) == 1


def test_a_restart_finds_manifests_of_processes_without_the_feature(site: MemorySite) -> None:
    backfill = ScanBackfill(site.database)
    run_to_the_end(backfill)
    push_image(site, scans=False)
    assert backfill.step().requested == 0
    backfill.restart()
    assert backfill.step().requested == 1


def test_an_empty_registry_is_complete_at_once(site: MemorySite) -> None:
    backfill = ScanBackfill(site.database)
    assert backfill.status() is None
    assert backfill.step().complete


def test_a_step_reads_one_range_of_a_hundred_thousand_manifests(site: MemorySite) -> None:
    """T10: each statement uses indexes and examines a bounded number of rows."""
    push_image(site, scans=False)
    insert_many(
        site.database,
        "INSERT INTO manifest (repository_id, digest, media_type, manifest_bytes)"
        " SELECT r.id, 'sha256:' || n, '', ''"
        " FROM repository r, generate_series(%(first)s, %(last)s) AS n",
    )
    site.database.run("ANALYZE")
    recording = RecordingDatabase.from_bundle(site.graph.bundle, size=1)
    backfill = ScanBackfill(recording)
    for _ in range(3):
        assert backfill.step().requested == BATCH
    site.database.run("ANALYZE")
    large = {"manifest", "securityscan", "manifestsecurityscan"}
    scanned = 0
    for statement, plan in recording.plans():
        for node, limited in nodes(plan):
            if node.get("Relation Name") in large and "Scan" in node["Node Type"]:
                scanned += 1
                if node["Relation Name"] == "manifest":
                    assert node["Node Type"] != "Seq Scan", statement
                assert limited or node["Plan Rows"] <= 10 * BATCH, statement
    assert scanned > 3
