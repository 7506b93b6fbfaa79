"""Numbered migrations: `migrations/NNNN_what.sql`, each applied once, in one transaction.

Rules, so that versions N and N+1 can run side by side during an upgrade: a migration only expands
(adds tables, columns with defaults, indexes); what a later version stops using is taken away by a
migration of the version after that one. A database that is newer than this code is therefore fine.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources

import psycopg2.extensions

from atoll.db.pool import Database

log = logging.getLogger(__name__)

_FILE = re.compile(r"(?P<number>\d{4})_(?P<name>[a-z0-9_]+)\.sql")
# Any number would do; this one is Atoll's, and every version uses it.
_ADVISORY_LOCK = 0x41746F6C6C
_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Migration:
    """One file of `migrations/`."""

    number: int
    name: str
    sql: str


def available() -> list[Migration]:
    """Return the migrations that this version of Atoll brings, in order."""
    found = []
    for entry in resources.files("atoll.db.migrations").iterdir():
        match = _FILE.fullmatch(entry.name)
        if match:
            found.append(Migration(int(match["number"]), match["name"], entry.read_text("utf-8")))
    return sorted(found, key=lambda migration: migration.number)


def migrate(database: Database) -> list[Migration]:
    """Bring the schema up to this version and return what was applied.

    Waits for another process that is migrating. Raises DatabaseUnavailable, or psycopg2's error of
    the migration that failed; that one is rolled back, those before it stay.
    """
    connection = database.connect()
    # A migration may take long; the statement's own limit ends it.
    connection.answer_timeout = None
    try:
        with _advisory_lock(connection):
            applied = _applied_numbers(connection)
            pending = [m for m in available() if m.number not in applied]
            for migration in pending:
                _apply(connection, migration)
            return pending
    finally:
        connection.close()


@contextmanager
def _advisory_lock(connection: psycopg2.extensions.connection) -> Iterator[None]:
    """Hold the one lock of all migrations. It goes with the connection, however that ends."""
    told = False
    with connection.cursor() as cursor:
        while True:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [_ADVISORY_LOCK])
            row = cursor.fetchone()
            if row and row[0]:
                break
            if not told:
                log.info("another process is migrating the schema; waiting for it")
                told = True
            time.sleep(_POLL_SECONDS)
    yield


def _applied_numbers(connection: psycopg2.extensions.connection) -> set[int]:
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE IF NOT EXISTS schema_migration ("
            " number integer PRIMARY KEY, name text NOT NULL,"
            " applied_at timestamptz NOT NULL DEFAULT now());"
            "SELECT number FROM schema_migration"
        )
        return {row[0] for row in cursor.fetchall()}


def _apply(connection: psycopg2.extensions.connection, migration: Migration) -> None:
    log.info("migration %04d %s", migration.number, migration.name)
    with connection.cursor() as cursor:
        # A migration that waits for a lock makes all behind it wait: give up before they do.
        cursor.execute(
            "BEGIN; SET LOCAL lock_timeout = '4s'; SET LOCAL statement_timeout = '30min'"
        )
        try:
            cursor.execute(migration.sql)
            cursor.execute(
                "INSERT INTO schema_migration (number, name) VALUES (%s, %s); COMMIT",
                [migration.number, migration.name],
            )
        except psycopg2.Error:
            if not connection.closed:
                cursor.execute("ROLLBACK")
            raise
