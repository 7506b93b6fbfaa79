"""Numbered migrations: `migrations/NNNN_name.sql`, each applied once, in one transaction.

Two versions run side by side during an upgrade, so a migration only expands the schema: it adds
tables, columns with defaults, functions and indexes. Two kinds of files are special:

- `NNNN_name.contract.sql` removes objects that no supported version uses. It is applied once every
  instance of an earlier version has stopped, and removes only what the previous version does not
  use either, so that a downgrade by one version stays possible. Expanding migrations do not wait
  for contracting ones with lower numbers.
- `NNNN_name.concurrent.sql` builds indexes of large tables. Its statements run one by one outside
  of a transaction (CREATE INDEX CONCURRENTLY), so that writers are not blocked. Each must be
  repeatable (IF NOT EXISTS): an interrupted migration restarts from its first statement, after the
  invalid index that it left is dropped.

Processes treat a database that lacks expanding migrations of their version as unavailable (see
`missing_expansions`). Migrations in the database that this version does not know come from a newer
version and are ignored. Numbers have no gaps, and a released migration is never renumbered or
renamed: a number that was applied under another name is an error.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources

import psycopg2.extensions

from atoll.db.pool import Database
from atoll.errors import UserError

log = logging.getLogger(__name__)

_FILE = re.compile(r"(?P<number>\d{4})_(?P<name>[a-z0-9_]+)(?P<kind>\.contract|\.concurrent)?\.sql")
_STATEMENT_END = re.compile(r";\s*$", re.MULTILINE)
_COMMENT = re.compile(r"^\s*--.*$", re.MULTILINE)
_INDEX = re.compile(
    r"CREATE\s+(?:UNIQUE\s+)?INDEX\s+CONCURRENTLY\s+IF\s+NOT\s+EXISTS\s+(\w+)", re.IGNORECASE
)
# An arbitrary number, the same in every version.
_ADVISORY_LOCK = 0x41746F6C6C
_POLL_SECONDS = 0.5
_EXISTS = "SELECT to_regclass('schema_migration') IS NOT NULL"
_APPLIED = "SELECT number, name FROM schema_migration"


@dataclass(frozen=True)
class Migration:
    """A file in `migrations/`."""

    number: int
    name: str
    sql: str
    contracts: bool = False
    concurrent: bool = False

    def __str__(self) -> str:
        """Return the number and name, as in the file name."""
        return f"{self.number:04d}_{self.name}"


class SchemaMismatch(UserError):
    """The database has another migration under the number of a known one."""

    def __init__(self, migration: Migration, applied: str) -> None:
        super().__init__(
            f"the database has migration {migration.number:04d}_{applied} instead of {migration}:"
            " it was created by a development version before 0.1 and cannot be upgraded; use an"
            " empty database"
        )


def available() -> list[Migration]:
    """Return the migrations of this version, ordered by number."""
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
    """Apply the pending expanding migrations, and return them.

    Waits while another process migrates. A migration that fails is rolled back; those before it
    stay applied.

    Raises:
        DatabaseUnavailable: The database cannot be reached.
        SchemaMismatch: The schema was created by a version before 0.1.
        psycopg2.Error: A migration failed.
    """
    return _migrate(database, contracting=False)


def contract(database: Database) -> list[Migration]:
    """Apply the pending contracting migrations, and return them. Raises like `expand`."""
    return _migrate(database, contracting=True)


def pending(database: Database) -> list[Migration]:
    """Return the pending migrations, ordered by number.

    Raises:
        DatabaseUnavailable: The database cannot be reached.
        SchemaMismatch: The schema was created by a version before 0.1.
    """
    applied: dict[int, str] = {}
    if is_migrated(database):
        applied = {row[0]: row[1] for row in database.read(_APPLIED)}
    return _missing(applied)


def missing_expansions(connection: psycopg2.extensions.connection) -> list[str]:
    """Return the migrations without which this version does not work, as far as they are pending.

    Pending contractions are no obstacle, nor are migrations of newer versions.
    """
    with connection.cursor() as cursor:
        cursor.execute(_EXISTS)
        row = cursor.fetchone()
        applied: dict[int, str] = {}
        if row and row[0]:
            cursor.execute(_APPLIED)
            applied = dict(cursor.fetchall())
    return [
        str(one) for one in available() if not one.contracts and applied.get(one.number) != one.name
    ]


def is_migrated(database: Database) -> bool:
    """Return whether the database was ever migrated.

    Raises:
        DatabaseUnavailable: The database cannot be reached.
    """
    return bool(database.read(_EXISTS)[0][0])


def _migrate(database: Database, *, contracting: bool) -> list[Migration]:
    connection = database.connect()
    # A migration may take long; its statement_timeout limits it.
    connection.answer_timeout = None
    try:
        with _advisory_lock(connection):
            missing = [
                one for one in _missing(_applied(connection)) if one.contracts == contracting
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
    """Hold the advisory lock for migrations until the connection closes.

    The lock is polled: a statement that waits for it would hold a snapshot, for whose end
    CREATE INDEX CONCURRENTLY in the other process would wait.
    """
    logged = False
    with connection.cursor() as cursor:
        while True:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [_ADVISORY_LOCK])
            row = cursor.fetchone()
            if row and row[0]:
                break
            if not logged:
                log.info("waiting for another migration")
                logged = True
            time.sleep(_POLL_SECONDS)
    yield


def _missing(applied: Mapping[int, str]) -> list[Migration]:
    """Return the migrations that are not in `applied`, which maps numbers to names.

    Raises:
        SchemaMismatch: A number was applied under another name.
    """
    for one in available():
        if applied.get(one.number, one.name) != one.name:
            raise SchemaMismatch(one, applied[one.number])
    return [one for one in available() if one.number not in applied]


def _applied(connection: psycopg2.extensions.connection) -> dict[int, str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE IF NOT EXISTS schema_migration ("
            " number integer PRIMARY KEY, name text NOT NULL,"
            f" applied_at timestamptz NOT NULL DEFAULT now()); {_APPLIED}"
        )
        return {row[0]: row[1] for row in cursor.fetchall()}


def _apply(connection: psycopg2.extensions.connection, migration: Migration) -> None:
    log.info("applying migration", extra={"migration": str(migration)})
    with connection.cursor() as cursor:
        # Other statements queue behind a migration that waits for a lock. The lock_timeout is
        # shorter than their statement_timeout, so that the migration fails instead of them.
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
    """Split a concurrent migration into statements, at semicolons that end a line."""
    found = (one.strip() for one in _STATEMENT_END.split(_COMMENT.sub("", sql)))
    return [one for one in found if one]


def _apply_concurrently(connection: psycopg2.extensions.connection, migration: Migration) -> None:
    log.info("applying migration", extra={"migration": str(migration)})
    with connection.cursor() as cursor:
        # Building an index of a large table takes hours, mostly waiting for other transactions, and
        # blocks no other statement.
        cursor.execute("SET statement_timeout = 0")
        for statement in statements(migration.sql):
            _drop_invalid_index(cursor, statement)
            cursor.execute(statement)
        cursor.execute(
            "INSERT INTO schema_migration (number, name) VALUES (%s, %s)",
            [migration.number, migration.name],
        )


def _drop_invalid_index(cursor: psycopg2.extensions.cursor, statement: str) -> None:
    """Drop the invalid index that an interrupted run left, which IF NOT EXISTS would skip."""
    match = _INDEX.match(statement)
    if match is None:
        return
    cursor.execute(
        "SELECT FROM pg_index WHERE indexrelid = to_regclass(%s) AND NOT indisvalid", [match[1]]
    )
    if cursor.fetchone() is not None:
        cursor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {match[1]}")
