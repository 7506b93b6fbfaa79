"""The cost of a claim does not depend on the queue or its history, and no task is missed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg2
import pytest
from atoll.db.pool import Database
from atoll.names import Digest
from atoll.placement import claims as claims_module
from atoll.placement import tasks as task_table
from atoll.placement.claims import Claims
from atoll.placement.tasks import Task, Tasks
from atoll.replication import worker as worker_module
from atoll.storage.base import blob_key
from atoll.storage.errors import StoreUnavailable

from ..integration.services import wait_until
from ..unit.clock import Clock
from .sites import MemoryRegistry
from .worker_faults import Statements

ALL = ["us", "ap"]


def make_blobs(
    registry: MemoryRegistry, count: int, location: str, *, urgent: bool = False
) -> None:
    """Create `count` blobs at `location` without objects, each with a task for eu."""
    registry["us"].database.run(
        "WITH blob AS (INSERT INTO imagestorage (content_checksum, image_size)"
        " SELECT 'sha256:' || encode(sha256(gen_random_uuid()::text::bytea), 'hex'), 5"
        " FROM generate_series(1, %(count)s) RETURNING id, image_size),"
        " placed AS (INSERT INTO imagestorageplacement (storage_id, location_id)"
        " SELECT blob.id, l.id FROM blob, imagestoragelocation l WHERE l.name = %(location)s)"
        " INSERT INTO replicationtask (storage_id, location_id, image_size, urgent)"
        " SELECT blob.id, l.id, blob.image_size, %(urgent)s FROM blob, imagestoragelocation l"
        " WHERE l.name = 'eu'",
        {"count": count, "location": location, "urgent": urgent},
    )


def touched(database: Database) -> int:
    """Return the number of tasks that were ever claimed, released or postponed."""
    return int(
        database.read(
            "SELECT count(*) FROM replicationtask WHERE attempts > 0 OR lease_token IS NOT NULL"
            " OR last_error IS NOT NULL OR available_at <> created_at"
        )[0][0]
    )


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_claims(registry: MemoryRegistry, clock: Clock) -> Callable[[], Claims]:
    """Return a function that creates claims of small blobs for eu, with a sweep every 5 s."""
    tasks = Tasks(registry["eu"].database, "eu")
    return lambda: Claims(tasks, large=False, sweep_seconds=5, monotonic=clock)


def digests(claimed: list[Task]) -> list[Digest]:
    return [task.digest for task in claimed]


@pytest.mark.parametrize("urgent", [False, True])
def test_new_tasks_do_not_wait_behind_tasks_without_a_source(
    registry: MemoryRegistry, make_claims: Callable[[], Claims], urgent: bool
) -> None:
    for _ in range(10):
        make_blobs(registry, 2000, "us", urgent=urgent)
    eu = registry["eu"]
    eu.database.run(
        "UPDATE replicationtask SET (created_at, available_at)"
        " = (created_at - interval '1 minute', available_at - interval '1 minute')"
    )
    # us is unavailable from now on.
    new = [registry["ap"].push(b"new %d" % number) for number in range(3)]
    statements = Statements(eu.database)
    claims = make_claims()
    found: list[Task] = []
    while not found:
        found = claims.claim(16, ["ap"], [])
    assert digests(found) == new
    # Each statement skips thousands of tasks.
    assert statements.sent[task_table._CLAIM] <= 10
    newer = registry["ap"].push(b"newer")
    assert digests(claims.claim(16, ["ap"], [])) == [newer]
    assert touched(eu.database) == 4
    # Once their source is available they are claimed, the oldest first.
    assert len(claims.claim(16, ALL, [])) == 16
    assert touched(eu.database) == 20


def test_statements_for_tasks_without_a_source_are_bounded(
    registry: MemoryRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "POLL_SECONDS", 0.1)
    us, eu, ap = registry["us"], registry["eu"], registry["ap"]
    make_blobs(registry, 5000, "us")
    eu.locations.health.end_probe("us", StoreUnavailable("us", "down"))
    assert eu.locations.selection.sources("eu") == ["ap"]
    statements = Statements(eu.database)
    worker = eu.worker()
    worker.start()
    try:
        for number in range(20):
            digest = ap.push(b"new %d" % number)
            wait_until("it is copied", lambda digest=digest: eu.has_object("eu", digest))
    finally:
        worker.stop()
    assert touched(eu.database) == 0
    assert (
        statements.sent[task_table.TABLE.release]
        == statements.sent[task_table.TABLE.give_back]
        == 0
    )
    del us


def test_a_store_that_is_available_again_wakes_the_tasks_that_need_it(
    registry: MemoryRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "POLL_SECONDS", 0.1)
    us, eu, ap = registry["us"], registry["eu"], registry["ap"]
    old = [us.push(b"old %d" % number) for number in range(30)]
    eu.locations.health.end_probe("us", StoreUnavailable("us", "down"))
    worker = eu.worker()
    worker.start()
    try:
        new = ap.push(b"new")
        wait_until("the new one is copied", lambda: eu.has_object("eu", new))
        assert not any(eu.has_object("eu", digest) for digest in old)
        assert eu.locations.health.begin_probe("us")
        eu.locations.health.end_probe("us", None)
        wait_until("all are copied", lambda: all(eu.has_object("eu", digest) for digest in old))
    finally:
        worker.stop()
    assert registry.stores["eu"].requests["put"] == 31
    assert blob_key(new) in registry.stores["eu"].objects


def buffers(database: Database, statement: str, parameters: Any) -> int:
    """Return the number of buffers that the statement reads; its effects are rolled back."""
    with database.transaction() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", parameters)
        plan = cursor.fetchone()[0][0]["Plan"]  # type: ignore[index]
        cursor.connection.rollback()
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def test_a_claim_with_an_old_snapshot_open_costs_the_same_after_many_finished_tasks(
    registry: MemoryRegistry, make_claims: Callable[[], Claims], monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if several seconds passed between the claims.
    monkeypatch.setattr(claims_module, "_OVERLAP", timedelta(0))
    eu = registry["eu"]
    snapshot = psycopg2.connect(registry.uri)
    with snapshot.cursor() as cursor:
        cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM imagestorage")
    statements = Statements(eu.database)
    tasks, claims = Tasks(eu.database, "eu"), make_claims()
    costs = []
    for _ in range(4):
        make_blobs(registry, 1000, "us")
        for _ in range(10):
            claimed = claims.claim(100, ALL, [])
            assert len(claimed) == 100
            assert len(tasks.finish(claimed)) == 100
        make_blobs(registry, 1, "us")
        assert len(claims.claim(100, ALL, [])) == 1
        registry["us"].database.run(
            "UPDATE replicationtask SET lease_token = NULL, lease_expires = NULL"
        )
        eu.database.run("ANALYZE replicationtask")
        parameters = statements.last_parameters[task_table._CLAIM]
        costs.append(buffers(eu.database, task_table._CLAIM, parameters))
        registry["us"].database.run("DELETE FROM replicationtask")
    snapshot.close()
    assert max(costs) < 3 * min(costs), costs


def test_the_next_sweep_finds_a_task_behind_the_position(
    registry: MemoryRegistry, make_claims: Callable[[], Claims], clock: Clock
) -> None:
    database = registry["us"].database
    claims = make_claims()
    first = [registry["us"].push(b"blob %d" % number) for number in range(5)]
    database.run("UPDATE replicationtask SET available_at = available_at - interval '1 minute'")
    assert digests(claims.claim(5, ALL, [])) == first
    assert claims.claim(5, ALL, []) == []
    # A lease expires, and a statement that started long ago commits.
    database.run(
        "UPDATE replicationtask t SET lease_expires = clock_timestamp() FROM imagestorage s"
        " WHERE s.id = t.storage_id AND s.content_checksum = %s AND t.lease_token IS NOT NULL",
        [str(first[2])],
    )
    late = registry["us"].push(b"committed late")
    database.run(
        "UPDATE replicationtask t SET available_at = available_at - interval '2 minutes'"
        " FROM imagestorage s WHERE s.id = t.storage_id AND s.content_checksum = %s",
        [str(late)],
    )
    assert claims.claim(5, ALL, []) == []
    clock.now += 6
    assert set(digests(claims.claim(5, ALL, []))) == {first[2], late}


def test_a_task_that_commits_after_a_newer_one_was_claimed_is_claimed_immediately(
    registry: MemoryRegistry, make_claims: Callable[[], Claims]
) -> None:
    us = registry["us"]
    claims = make_claims()
    make_blobs(registry, 1, "us")
    us.database.run("DELETE FROM replicationtask")
    with us.database.transaction() as cursor:
        cursor.execute(
            "INSERT INTO replicationtask (storage_id, location_id)"
            " SELECT s.id, l.id FROM imagestorage s, imagestoragelocation l WHERE l.name = 'eu'"
        )
        younger = us.push(b"younger")
        assert digests(claims.claim(5, ALL, [])) == [younger]
        assert claims.claim(5, ALL, []) == []
    assert len(claims.claim(5, ALL, [])) == 1


def test_several_workers_claim_every_task_once(registry: MemoryRegistry) -> None:
    make_blobs(registry, 1000, "us")
    make_blobs(registry, 300, "us", urgent=True)
    make_blobs(registry, 200, "eu")
    claimed: list[int] = []
    lock = threading.Lock()

    def work() -> None:
        tasks = Tasks(registry["eu"].database, "eu")
        claims = Claims(tasks, large=False, sweep_seconds=0)
        empty = 0
        while empty < 3:
            found = claims.claim(7, ALL, [])
            empty = 0 if found else empty + 1
            with lock:
                claimed.extend(task.id for task in found)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claimed) == len(set(claimed)) == 1300
