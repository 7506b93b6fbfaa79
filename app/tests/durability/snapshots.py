"""Logical snapshots of a small database, within milliseconds, and shifts of its clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# Tables with rows that belong to the schema.
_SKIPPED = ("schema_migration",)

_TABLES = """
SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'public' AND c.relkind = 'r' ORDER BY c.relname
"""

_TIMES = """
SELECT table_name, column_name FROM information_schema.columns
WHERE table_schema = 'public' AND data_type = 'timestamp with time zone'
  AND table_name NOT IN (SELECT table_name FROM information_schema.views)
"""

# Columns with milliseconds since 1970, as in Quay.
_MILLISECONDS = {"tag": ("lifetime_start_ms", "lifetime_end_ms", "expires_ms")}


@dataclass(frozen=True)
class Snapshot:
    """The rows of each table, as JSON."""

    rows: dict[str, str]


class Snapshots:
    """Snapshots of the database of a connection in autocommit mode.

    Restoring does not reset sequences, which may also be ahead after a failover.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        tables = [row[0] for row in self._query(_TABLES)]
        self._tables = [name for name in tables if name not in _SKIPPED]
        times: dict[str, list[str]] = {}
        for table, column in self._query(_TIMES):
            if table in self._tables:
                times.setdefault(table, []).append(column)
        self._times = times

    def take(self) -> Snapshot:
        """Return all rows, as of one transaction."""
        parts = " UNION ALL ".join(
            f"SELECT '{table}', json_agg(t)::text FROM \"{table}\" t" for table in self._tables
        )
        return Snapshot({table: rows for table, rows in self._query(parts) if rows is not None})

    def restore(self, snapshot: Snapshot) -> None:
        """Replace all rows by those of `snapshot`. Requires that no other transaction is open."""
        statements = ["SET LOCAL session_replication_role = replica"]
        statements += [f'DELETE FROM "{table}"' for table in self._tables]
        values = []
        for table, rows in snapshot.rows.items():
            statements.append(
                f'INSERT INTO "{table}" OVERRIDING SYSTEM VALUE'
                f' SELECT * FROM json_populate_recordset(NULL::"{table}", %s)'
            )
            values.append(rows)
        with self._connection.cursor() as cursor:
            cursor.execute("; ".join(statements), values)

    def age(self, seconds: float) -> None:
        """Shift every time in the database back by `seconds`."""
        statements = ["SET LOCAL session_replication_role = replica"]
        for table, columns in self._times.items():
            changes = [f"{name} = {name} - make_interval(secs => {seconds})" for name in columns]
            changes += [
                f"{name} = {name} - {int(seconds * 1000)}" for name in _MILLISECONDS.get(table, ())
            ]
            statements.append(f'UPDATE "{table}" SET {", ".join(changes)}')
        with self._connection.cursor() as cursor:
            cursor.execute("; ".join(statements))

    def _query(self, sql: str) -> list[Any]:
        with self._connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())
