"""Wake-ups of workers do not delay other writers, and abandoned commits leave no session."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg2
import pytest
from atoll.db.pool import Database, DatabaseUnavailable
from atoll.db.wake_ups import MIRROR_CHANNEL, REPLICATION_CHANNEL, WakeUps
from atoll.server.migration import prepare_database

from ..integration.services import SECONDS, running_postgres, wait_until
from .databases import administer
from .sites import MemoryRegistry, make_registry

_WAITS = """
SELECT coalesce(array_agg(wait_event ORDER BY wait_event), '{}') FROM pg_stat_activity
WHERE datname = current_database() AND state = 'active' AND pid <> pg_backend_pid()
"""


@pytest.fixture(scope="module")
def synchronous(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MemoryRegistry]:
    """A registry on its own server, whose synchronous standby tests can disable."""
    with running_postgres() as uri:
        registry = make_registry(uri, tmp_path_factory.mktemp("own"), ["us", "eu", "ap"])
        prepare_database(registry["us"].graph)
        yield registry


@contextmanager
def without_standby(uri: str) -> Iterator[None]:
    """Make every commit wait for a standby that does not exist."""
    administer(uri, "ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    administer(uri, "SELECT pg_reload_conf()")
    try:
        yield
    finally:
        administer(uri, "ALTER SYSTEM RESET synchronous_standby_names")
        administer(uri, "SELECT pg_reload_conf()")


def waits(uri: str) -> list[str]:
    connection = psycopg2.connect(uri)
    with connection, connection.cursor() as cursor:
        cursor.execute(_WAITS)
        row = cursor.fetchone()
    connection.close()
    assert row is not None
    return list(row[0])


def _notified(cursor: psycopg2.extensions.cursor) -> set[str]:
    cursor.execute("SELECT 1")
    return {notice.payload for notice in cursor.connection.notifies}


def make_connections(uri: str, *, answer_timeout: float) -> Database:
    """Return a pool whose timeouts, except `answer_timeout`, a busy machine does not exceed."""
    return Database(
        uri,
        {"connect_timeout": SECONDS},
        size=3,
        answer_timeout=answer_timeout,
        statement_timeout=SECONDS * 1000,
    )


def write_task(database: Database, number: int) -> None:
    """Write a task for a new blob, so that calls conflict in nothing else."""
    database.run(
        "WITH blob AS (INSERT INTO imagestorage (content_checksum, image_size)"
        " VALUES (%s, 1) RETURNING id)"
        " INSERT INTO replicationtask (storage_id, location_id)"
        " SELECT blob.id, l.id FROM blob, imagestoragelocation l WHERE l.name = 'eu'",
        [f"sha256:{number:064x}"],
    )


def test_writers_of_tasks_do_not_wait_for_each_other_while_the_standby_is_unavailable(
    synchronous: MemoryRegistry,
) -> None:
    uri = synchronous.uri
    database = make_connections(uri, answer_timeout=SECONDS)

    def write(number: int) -> None:
        with suppress(DatabaseUnavailable):
            write_task(database, number)

    writers = [threading.Thread(target=write, args=[number]) for number in range(3)]
    with without_standby(uri):
        for writer in writers:
            writer.start()
        wait_until("each waits for the standby", lambda: waits(uri) == ["SyncRep"] * 3)
    for writer in writers:
        writer.join()


def test_an_abandoned_commit_leaves_no_session(
    synchronous: MemoryRegistry,
) -> None:
    uri = synchronous.uri
    abandoning = make_connections(uri, answer_timeout=0.5)
    with without_standby(uri):
        for number in range(100, 103):
            with pytest.raises(DatabaseUnavailable):
                write_task(abandoning, number)
        with pytest.raises(DatabaseUnavailable), abandoning.transaction() as cursor:
            cursor.execute("UPDATE imagestorage SET image_size = 2")
        # Abandoned before its commit.
        with pytest.raises(DatabaseUnavailable):
            abandoning.run("SELECT pg_sleep(1); UPDATE imagestorage SET image_size = 3")
        wait_until("no session waits", lambda: waits(uri) == [])


def test_a_push_wakes_the_workers_of_the_other_locations(registry: MemoryRegistry) -> None:
    site = registry["us"]
    connection = site.database.connect()
    with connection.cursor() as cursor:
        cursor.execute(f"LISTEN {REPLICATION_CHANNEL}")
        site.push(b"content")
        wait_until("both are notified", lambda: _notified(cursor) == {"eu", "ap"})
    connection.close()


def test_a_transaction_that_is_rolled_back_wakes_no_worker(registry: MemoryRegistry) -> None:
    site = registry["us"]
    site.push(b"content")
    messages: list[str] = []
    site.database.on_info = messages.append
    insert = (
        "DELETE FROM replicationtask;"
        "INSERT INTO replicationtask (storage_id, location_id)"
        " SELECT s.id, l.id FROM imagestorage s, imagestoragelocation l WHERE l.name = 'eu'"
    )
    with suppress(ZeroDivisionError), site.database.transaction() as cursor:
        cursor.execute(insert)
        raise ZeroDivisionError
    site.database.run("SELECT 1")
    assert messages == []
    with site.database.transaction() as cursor:
        cursor.execute(insert)
        assert messages == []
    assert messages == [f'{REPLICATION_CHANNEL} ["eu"]']


def test_wake_ups_of_one_process_are_sent_in_one_statement_for_each_channel() -> None:
    sent: list[tuple[str, list[str]]] = []
    first = threading.Event()

    class Recorder:
        def run(self, _sql: str, parameters: dict[str, Any]) -> None:
            sent.append((parameters["channel"], parameters["payloads"]))
            first.wait()
            if len(sent) == 1:
                raise DatabaseUnavailable("unavailable")

    wake_ups = WakeUps(Recorder(), pause=0)  # type: ignore[arg-type]
    wake_ups.wake(REPLICATION_CHANNEL, ["us"])
    wait_until("the first is being sent", lambda: len(sent) == 1)
    for _ in range(100):
        wake_ups.wake(REPLICATION_CHANNEL, ["eu"])
        wake_ups.wake(REPLICATION_CHANNEL, ["ap"])
        wake_ups.wake(MIRROR_CHANNEL, ["plan"])
    first.set()
    wait_until("the others are sent", lambda: len(sent) == 3)
    assert sent == [
        (REPLICATION_CHANNEL, ["us"]),
        (MIRROR_CHANNEL, ["plan"]),
        (REPLICATION_CHANNEL, ["ap", "eu"]),
    ]
