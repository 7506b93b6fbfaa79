"""Lag and queue lengths are determined at bounded cost, regardless of the queue length."""

from __future__ import annotations

import pytest
from atoll.db import estimates
from atoll.db.pool import Database
from atoll.placement import delete_queue as deletions
from atoll.placement.delete_queue import queue_lengths
from atoll.placement.upkeep import failing_tasks, garbage_status
from atoll.placement.upkeep import lag as lag_module
from atoll.placement.upkeep.lag import Lag, lag

from .query_costs import examined
from .sites import MemoryRegistry

MAXIMUM = 500


@pytest.fixture(autouse=True)
def _counts_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimates, "EXACT_MAXIMUM", MAXIMUM)
    monkeypatch.setattr(estimates, "SAMPLE_PAGES", 30)


def make_tasks(database: Database, count: int, location: str) -> None:
    database.run(
        "WITH blob AS (INSERT INTO imagestorage (content_checksum, image_size)"
        " SELECT 'sha256:' || encode(sha256(gen_random_uuid()::text::bytea), 'hex'), 7"
        " FROM generate_series(1, %(count)s) RETURNING id, image_size),"
        " deleted AS (INSERT INTO objectdeletion (storage_id, location_id)"
        " SELECT blob.id, l.id FROM blob, imagestoragelocation l WHERE l.name = %(location)s)"
        " INSERT INTO replicationtask (storage_id, location_id, image_size)"
        " SELECT blob.id, l.id, blob.image_size FROM blob, imagestoragelocation l"
        " WHERE l.name = %(location)s",
        {"count": count, "location": location},
    )


def lag_of(database: Database, location: str) -> Lag:
    return next(entry for entry in lag(database) if entry.location == location)


def test_large_numbers_are_estimated_and_small_ones_are_exact(registry: MemoryRegistry) -> None:
    database = registry["us"].database
    for _ in range(5):
        make_tasks(database, 2000, "eu")
    make_tasks(database, 20, "ap")
    database.run(
        "UPDATE replicationtask SET created_at = now() - interval '1 hour',"
        " available_at = now() - interval '1 hour' WHERE id = 5"
    )
    eu, ap, us = (lag_of(database, location) for location in ("eu", "ap", "us"))
    assert 5000 < eu.pending_blobs < 20_000
    assert 35_000 < eu.pending_bytes < 140_000
    assert 3600 <= eu.oldest_seconds < 3600 + 600
    assert (ap.pending_blobs, ap.pending_bytes) == (20, 140)
    assert (us.pending_blobs, us.pending_bytes, us.oldest_seconds) == (0, 0, 0)
    lengths = queue_lengths(database)
    assert 5000 < lengths["eu"] < 20_000
    assert (lengths["ap"], lengths["us"]) == (20, 0)


def test_the_cost_of_counting_is_bounded(registry: MemoryRegistry) -> None:
    database = registry["us"].database
    limit = {"limit": MAXIMUM}
    for _ in range(4):
        make_tasks(database, 2000, "eu")
        database.run("ANALYZE replicationtask; ANALYZE objectdeletion")
        assert examined(database, lag_module._LAG, limit) < 4 * MAXIMUM
        assert examined(database, deletions._LENGTHS, limit) < 2 * MAXIMUM


def test_the_cost_of_reporting_garbage_is_bounded(registry: MemoryRegistry) -> None:
    database = registry["us"].database
    limit = {"limit": MAXIMUM}
    for _ in range(4):
        make_tasks(database, 2000, "eu")
        database.run("UPDATE imagestorage SET tombstone_at = now()")
        database.run("ANALYZE imagestorage; ANALYZE objectdeletion")
        assert examined(database, garbage_status._WAITING, limit) < 2 * MAXIMUM
        assert examined(database, garbage_status._QUEUES, limit) < 2 * MAXIMUM
    _manifests, blobs = garbage_status.GarbageStatus(database).waiting()
    assert 4000 < blobs.number < 16_000
    assert 28_000 < blobs.bytes < 112_000
    queues = {one.location: one.objects for one in garbage_status.GarbageStatus(database).queues()}
    assert 4000 < queues["eu"] < 16_000


def test_the_cost_of_listing_and_retrying_failing_tasks_is_bounded(
    registry: MemoryRegistry,
) -> None:
    database = registry["us"].database
    values = {"limit": 50, "location": None, "after": 0}
    make_tasks(database, 2000, "ap")
    database.run("UPDATE replicationtask SET last_error = 'failed' WHERE id > 1990")
    for _ in range(3):
        make_tasks(database, 2000, "eu")
        database.run(
            "UPDATE replicationtask t SET last_error = 'failed', urgent = true,"
            " available_at = now() + interval '1 hour'"
            " FROM imagestoragelocation l WHERE l.id = t.location_id AND l.name = 'eu'"
        )
        database.run("ANALYZE replicationtask; ANALYZE imagestorage")
        assert examined(database, failing_tasks._LIST, values) < 200
        assert examined(database, failing_tasks._RETRY, values) < 500
        assert examined(database, failing_tasks._URGENT, {"limit": 50}) < 200


def test_the_oldest_task_is_found_among_failed_urgent_and_large_ones(
    registry: MemoryRegistry,
) -> None:
    database = registry["us"].database
    make_tasks(database, 10, "eu")
    oldest = {
        "urgent = true": "1 hour",
        "large = true": "2 hours",
        "last_error = 'failed', available_at = now() + interval '1 hour'": "3 hours",
    }
    for task_id, (change, age) in enumerate(oldest.items(), start=1):
        database.run(
            "UPDATE replicationtask SET created_at = now() - %(age)s::interval,"
            f" available_at = now() - %(age)s::interval WHERE id = {task_id};"
            f" UPDATE replicationtask SET {change} WHERE id = {task_id}",
            {"age": age},
        )
        assert lag_of(database, "eu").oldest_seconds >= 3600 * int(age[0])
    assert lag_of(database, "eu").failing_blobs == 1
    assert lag_of(database, "eu").last_error == "failed"
