"""A worker survives PostgreSQL errors in each of its statements."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2
import psycopg2.errors
import pytest
from atoll.db.leased_queue import Backoff
from atoll.db.pool import Parameters
from atoll.names import Digest
from atoll.placement import tasks as task_table
from atoll.placement.checks import doubts
from atoll.placement.tasks import Tasks
from atoll.replication import worker as worker_module
from atoll.replication.worker import Worker
from atoll.storage.base import blob_key
from atoll.storage.errors import StoreUnavailable
from atoll.storage.multipart import PART_MINIMUM

from ..integration.services import wait_until
from .databases import administer
from .sites import MemoryRegistry, MemorySite, make_registry
from .worker_faults import Statements, fail_first

# More than the number of times that a statement is sent before its caller gets the error.
FAILURES = 4
STATEMENTS = {
    "claim": task_table._CLAIM,
    "extend": task_table.TABLE.extend,
    "finish": task_table._FINISH,
    "release": task_table.TABLE.release,
    "give_back": task_table.TABLE.give_back,
    "record_upload": task_table._RECORD_UPLOAD,
    "record_doubt": doubts._RECORD,
}
ERRORS = [
    psycopg2.errors.DeadlockDetected,
    psycopg2.errors.DiskFull,
    psycopg2.errors.SerializationFailure,
]


@pytest.fixture(autouse=True)
def _waits_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "POLL_SECONDS", 0.1)
    monkeypatch.setattr(task_table, "_SOURCE_BACKOFF", Backoff(first=0.2, maximum=0.2))


@contextmanager
def running(site: MemorySite, **arguments: object) -> Iterator[Worker]:
    worker = site.worker(**arguments)
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()


def copied(site: MemorySite, location: str, digests: list[Digest]) -> Callable[[], bool]:
    def are_copied() -> bool:
        placed = site.database.read(
            "SELECT s.content_checksum FROM imagestorageplacement p"
            " JOIN imagestorage s ON s.id = p.storage_id"
            " JOIN imagestoragelocation l ON l.id = p.location_id"
            " WHERE l.name = %s AND p.state = 'good'",
            [location],
        )
        return {row[0] for row in placed} >= {str(digest) for digest in digests} and all(
            site.has_object(location, digest) for digest in digests
        )

    return are_copied


def copy_to(registry: MemoryRegistry, location: str) -> None:
    with running(registry[location]):
        wait_until(
            f"everything is at {location}",
            lambda: (
                not registry[location].database.read(
                    "SELECT 1 FROM replicationtask t JOIN imagestoragelocation l"
                    " ON l.id = t.location_id WHERE l.name = %s",
                    [location],
                )
            ),
        )


@pytest.mark.parametrize("error", ERRORS)
def test_worker_survives_an_error_in_each_of_its_statements(
    registry: MemoryRegistry, error: type[Exception]
) -> None:
    us, eu = registry["us"], registry["eu"]
    source, target = registry.stores["us"], registry.stores["eu"]
    large = os.urandom(PART_MINIMUM + 1)
    wrong_at_us = us.push(b"wrong bytes at us")
    copy_to(registry, "ap")
    source.wrong_bytes[blob_key(wrong_at_us)] = b"wrong bytes of us"
    unreadable = us.push(b"unreadable at first")
    digests = [wrong_at_us, unreadable, us.push(large)]
    digests += [us.push(b"small %d" % number) for number in range(20)]
    failed_reads = []
    gate = threading.Event()

    def read_fault(operation: str, key: str) -> None:
        if operation == "read" and key == blob_key(unreadable) and not failed_reads:
            failed_reads.append(key)
            raise StoreUnavailable("us", "unreadable")

    def slow_part(operation: str, _key: str) -> None:
        if operation == "put_part":
            gate.wait()

    source.fault, target.fault = read_fault, slow_part
    statements = Statements(eu.database, fail_first(list(STATEMENTS.values()), FAILURES, error))
    worker = eu.worker(lease_seconds=1)
    worker.start()
    # The next attempt uses another source than the one with the wrong bytes.
    others = set(STATEMENTS.values()) - {task_table.TABLE.give_back, doubts._RECORD}
    wait_until(
        "each other statement succeeded after its failures",
        lambda: all(statements.succeeded[sql] for sql in others),
    )
    assert worker.alive
    stopping = threading.Thread(target=worker.stop)
    stopping.start()
    wait_until("the worker stops", worker._stop.is_set)
    gate.set()
    stopping.join()
    with running(eu, lease_seconds=1) as successor:
        wait_until("everything is placed at eu", copied(eu, "eu", digests))
        assert successor.alive
    assert statements.sent[task_table.TABLE.give_back] > 0
    assert {name for name, sql in STATEMENTS.items() if not statements.sent[sql]} == set()


def test_worker_survives_real_deadlocks(make_database: Callable[[], str], tmp_path: Path) -> None:
    uri = make_database()
    # The worker detects a deadlock long before the other session does, and becomes its victim.
    administer(uri, f"ALTER DATABASE {uri.rpartition('/')[2]} SET deadlock_timeout = '10ms'")
    registry = make_registry(uri, tmp_path, ["us", "eu"])
    us, eu = registry["us"], registry["eu"]
    digests = [us.push(b"blob %d" % number) for number in range(100)]
    victims = []
    finish = Tasks.finish

    def slow_finish(tasks: Tasks, batch: list[object]) -> object:
        # So that batches become large enough to conflict.
        time.sleep(0.02)
        return finish(tasks, batch)  # type: ignore[arg-type]

    statements = Statements(eu.database)
    run = statements._run

    def observed(sql: str, parameters: Parameters = None) -> list[object]:
        try:
            return run(sql, parameters)
        except psycopg2.errors.DeadlockDetected:
            victims.append(sql)
            raise

    statements._run = observed
    over = threading.Event()
    adversary = threading.Thread(target=lock_in_opposite_order, args=(uri, over))
    adversary.start()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Tasks, "finish", slow_finish)
            with running(eu) as worker:
                wait_until("everything is placed at eu", copied(eu, "eu", digests))
                assert worker.alive
    finally:
        over.set()
        adversary.join()
    assert victims


def lock_in_opposite_order(uri: str, over: threading.Event) -> None:
    """Repeatedly lock the held tasks one by one, the newest first."""
    connection = psycopg2.connect(uri)
    with connection.cursor() as cursor:
        while not over.is_set():
            cursor.execute("SET LOCAL deadlock_timeout = '60s'")
            cursor.execute(
                "SELECT id FROM replicationtask WHERE lease_token IS NOT NULL ORDER BY id DESC"
            )
            for (task_id,) in cursor.fetchall()[:8]:
                cursor.execute("SELECT FROM replicationtask WHERE id = %s FOR UPDATE", [task_id])
                time.sleep(0.003)
            connection.rollback()
            time.sleep(0.01)
    connection.close()


def test_renewing_and_finishing_the_same_tasks_never_deadlock(
    make_database: Callable[[], str], tmp_path: Path
) -> None:
    uri = make_database()
    administer(uri, f"ALTER DATABASE {uri.rpartition('/')[2]} SET deadlock_timeout = '10ms'")
    registry = make_registry(uri, tmp_path, ["us", "eu"])
    us, eu = registry["us"], registry["eu"]
    for number in range(300):
        us.push(b"blob %d" % number)
    tasks = Tasks(eu.database, "eu")
    errors: list[Exception] = []
    statements = Statements(eu.database)
    run = statements._run

    def observed(sql: str, parameters: Parameters = None) -> list[object]:
        try:
            return run(sql, parameters)
        except psycopg2.Error as error:
            errors.append(error)
            raise

    statements._run = observed
    for _ in range(6):
        held = tasks.claim(limit=300)
        assert len(held) == 300
        # Copies end in another order than that of their ids.
        held.sort(key=lambda task: task.digest.hex)
        over = threading.Event()

        def renew(held: list[object] = held, over: threading.Event = over) -> None:
            while not over.is_set():
                tasks.extend(held)  # type: ignore[arg-type]

        threads = [threading.Thread(target=renew) for _ in range(2)]
        for thread in threads:
            thread.start()
        finished = set()
        for start in range(0, 300, 60):
            finished |= tasks.finish(held[start : start + 60])
        over.set()
        for thread in threads:
            thread.join()
        assert finished == {task.lease_token for task in held}
        eu.database.run(
            "DELETE FROM imagestorageplacement p USING imagestoragelocation l"
            " WHERE l.id = p.location_id AND l.name = 'eu';"
            "INSERT INTO replicationtask (storage_id, location_id)"
            " SELECT s.id, l.id FROM imagestorage s, imagestoragelocation l"
            " WHERE l.name = 'eu' ORDER BY s.content_checksum DESC"
        )
    assert errors == []


def test_a_row_that_cannot_be_recorded_does_not_delay_the_others(
    registry: MemoryRegistry,
) -> None:
    us, eu = registry["us"], registry["eu"]
    bad = us.push(b"refused")
    digests = [us.push(b"blob %d" % number) for number in range(50)]

    def refuse(sql: str, parameters: Parameters) -> None:
        if sql == task_table._FINISH and str(bad) in parameters["digests"]:  # type: ignore[index,call-overload]
            raise psycopg2.errors.CheckViolation("injected")

    Statements(eu.database, refuse)
    with running(eu) as worker:
        wait_until("all others are placed", copied(eu, "eu", digests))
        wait_until(
            "the bad one is released with the error",
            lambda: bool(
                us.database.read(
                    "SELECT 1 FROM replicationtask WHERE last_error LIKE 'CheckViolation%%'"
                    " AND lease_token IS NULL"
                )
            ),
        )
        assert worker.alive
    assert "eu" not in us.placements(bad)
