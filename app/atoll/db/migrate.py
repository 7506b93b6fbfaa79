"""Numbered migrations: `migrations/NNNN_what.sql`, each applied once, in one transaction.

One that builds indexes of large tables is a `NNNN_what.concurrent.sql`, whose statements run one by
one outside of a transaction, so that writers are not blocked (CREATE INDEX CONCURRENTLY). Each must
be repeatable (IF NOT EXISTS): a migration that was interrupted runs again from its first statement,
after what it left as an invalid index was dropped.

Rules, so that two versions can run side by side during an upgrade: a migration only expands (adds
tables, columns with defaults, indexes). One that takes away is a `NNNN_what.contract.sql`, which is
applied when nobody runs an earlier version any more. It takes away only what the version before
does not use either, so that one can go back to that. Expanding ones do not wait for contracting
ones of lower numbers. A database that is newer than this code is therefore fine.
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

_FILE = re.compile(r"(?P<number>\d{4})_(?P<name>[a-z0-9_]+)(?P<kind>\.contract|\.concurrent)?\.sql")
_STATEMENT_END = re.compile(r";\s*$", re.MULTILINE)
_COMMENT = re.compile(r"^\s*--.*$", re.MULTILINE)
_INDEX = re.compile(
    r"CREATE\s+(?:UNIQUE\s+)?INDEX\s+CONCURRENTLY\s+IF\s+NOT\s+EXISTS\s+(\w+)", re.IGNORECASE
)
# Any number would do; this one is Atoll's, and every version uses it.
_ADVISORY_LOCK = 0x41746F6C6C
_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Migration:
    """One file of `migrations/`."""

    number: int
    name: str
    sql: str
    contracts: bool = False
    concurrent: bool = False

    def __str__(self) -> str:
        """Return number and name, as its file has them."""
        return f"{self.number:04d}_{self.name}"


def available() -> list[Migration]:
    """Return the migrations that this version of Atoll brings, in order."""
    found = []
    for entry in resources.files("atoll.db.migrations").iterdir():
        match = _FILE.fullmatch(entry.name)
        if match:
            found.append(
                Migration(
                    int(match["number"]),
                    match["name"],
                    entry.read_text("utf-8"),
                    contracts=match["kind"] == ".contract",
                    concurrent=match["kind"] == ".concurrent",
                )
            )
    return sorted(found, key=lambda migration: migration.number)


def expand(database: Database) -> list[Migration]:
    """Add what this version needs to the schema, and return what was applied.

    Waits for another process that is migrating. Raises DatabaseUnavailable, or psycopg2's error of
    the migration that failed; that one is rolled back, those before it stay.
    """
    return _migrate(database, contracting=False)


def contract(database: Database) -> list[Migration]:
    """Take away what only earlier versions need; return what was applied. Raises as `expand`."""
    return _migrate(database, contracting=True)


def pending(database: Database) -> list[Migration]:
    """Return what is not applied yet, in order. Raises DatabaseUnavailable."""
    applied = set()
    if is_migrated(database):
        applied = {row[0] for row in database.read("SELECT number FROM schema_migration")}
    return [one for one in available() if one.number not in applied]


def is_migrated(database: Database) -> bool:
    """Tell whether any version was ever here. Raises DatabaseUnavailable."""
    return bool(database.read("SELECT to_regclass('schema_migration') IS NOT NULL")[0][0])


def _migrate(database: Database, *, contracting: bool) -> list[Migration]:
    connection = database.connect()
    # A migration may take long; the statement's own limit ends it.
    connection.answer_timeout = None
    try:
        with _advisory_lock(connection):
            applied = _applied_numbers(connection)
            missing = [
                one
                for one in available()
                if one.contracts == contracting and one.number not in applied
            ]
            for migration in missing:
                if migration.concurrent:
                    _apply_concurrently(connection, migration)
                else:
                    _apply(connection, migration)
            return missing
    finally:
        connection.close()


@contextmanager
def _advisory_lock(connection: psycopg2.extensions.connection) -> Iterator[None]:
    """Hold the one lock of all migrations. It is released when the connection ends.

    It is not waited for within a statement, whose snapshot a concurrent index would wait for.
    """
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
    log.info("migration %s", migration)
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


def statements(sql: str) -> list[str]:
    """Return the statements of a concurrent migration, each of which ends its line."""
    found = (one.strip() for one in _STATEMENT_END.split(_COMMENT.sub("", sql)))
    return [one for one in found if one]


def _apply_concurrently(connection: psycopg2.extensions.connection, migration: Migration) -> None:
    log.info("migration %s", migration)
    with connection.cursor() as cursor:
        # An index of a large table takes hours, most of which it waits for other transactions;
        # nobody waits for it meanwhile.
        cursor.execute("SET statement_timeout = 0")
        for statement in statements(migration.sql):
            _drop_invalid_index(cursor, statement)
            cursor.execute(statement)
        cursor.execute(
            "INSERT INTO schema_migration (number, name) VALUES (%s, %s)",
            [migration.number, migration.name],
        )


def _drop_invalid_index(cursor: psycopg2.extensions.cursor, statement: str) -> None:
    """Drop what an interrupted run of STATEMENT left: IF NOT EXISTS would keep it."""
    match = _INDEX.match(statement)
    if match is None:
        return
    cursor.execute(
        "SELECT FROM pg_index WHERE indexrelid = to_regclass(%s) AND NOT indisvalid", [match[1]]
    )
    if cursor.fetchone() is not None:
        cursor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {match[1]}")
