"""Writing and reading of audit log entries."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from atoll.db.pool import Database


@dataclass(frozen=True)
class Entry:
    """An action or pull in the audit log.

    Attributes:
        kind: The kind of action, one of Quay's.
        namespace: The namespace that the entry belongs to.
        repository: The repository's name in the namespace.
        performer: The name of the user or robot.
        ip: The client's IP address.
        metadata: Details, by kind; they contain no secrets.
        created_at: The time of the action.
    """

    kind: str
    namespace: str | None
    repository: str | None
    performer: str | None
    ip: str | None
    metadata: Mapping[str, Any]
    created_at: datetime | None = None

    def parameters(self) -> dict[str, object]:
        """Return the parameters that a statement of `logged` needs."""
        return {
            "log_kind": self.kind,
            "log_namespace": self.namespace,
            "log_repository": self.repository,
            "log_performer": self.performer,
            "log_ip": self.ip,
            "log_metadata": json.dumps(dict(self.metadata)),
        }


def with_log_entry(statement: str) -> str:
    """Return a statement that makes a change and, if it affects rows, writes a log entry.

    Args:
        statement: An INSERT, UPDATE or DELETE with RETURNING. Its rows are returned.

    Returns:
        A statement that also needs the `parameters` of the entry.
    """
    return f"""
    WITH changed AS ({statement}), written_entry AS (
        INSERT INTO logentry (kind, namespace, repository, performer, ip, metadata)
        SELECT %(log_kind)s, %(log_namespace)s, %(log_repository)s, %(log_performer)s, %(log_ip)s,
               %(log_metadata)s
        FROM changed LIMIT 1
    )
    SELECT * FROM changed
    """


@dataclass(frozen=True)
class Selection:
    """Selects entries by time and, where they are not None, by the other attributes."""

    start: datetime
    end: datetime
    namespace: str | None = None
    repository: str | None = None
    performer: str | None = None


# Entries from before the creation of the namespace belong to an earlier namespace of that name, and
# are hidden from the current one.
_SELECTED = """
    created_at >= %(start)s AND created_at < %(end)s
    AND created_at >= coalesce(
        (SELECT u.created_at FROM "user" u WHERE u.username = %(namespace)s), '-infinity')
    AND (%(namespace)s IS NULL OR namespace = %(namespace)s)
    AND (%(repository)s IS NULL OR repository = %(repository)s)
    AND (%(performer)s IS NULL OR performer = %(performer)s)
"""


class Audit:
    """Writes and reads log entries."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def write(self, entry: Entry) -> None:
        """Write an entry."""
        self._database.run(
            "INSERT INTO logentry (kind, namespace, repository, performer, ip, metadata)"
            " VALUES (%s, %s, %s, %s, %s, %s)",
            [
                entry.kind,
                entry.namespace,
                entry.repository,
                entry.performer,
                entry.ip,
                json.dumps(dict(entry.metadata)),
            ],
        )

    def write_all(self, entries: Sequence[Entry], before: str = "") -> None:
        """Write entries with their own times, in one round trip.

        Args:
            entries: The entries.
            before: Statements to run first in the same transaction; they can use %(entries)s.
        """
        self._database.run(
            before
            + """
            INSERT INTO logentry (kind, namespace, repository, performer, ip, metadata, created_at)
            SELECT * FROM jsonb_to_recordset(%(entries)s) AS entry (
                kind text, namespace text, repository text, performer text, ip text,
                metadata jsonb, created_at timestamptz)
            """,
            {"entries": json.dumps([asdict(entry) for entry in entries], default=str)},
        )

    def counts(self, selection: Selection) -> list[tuple[datetime, str, int]]:
        """Return the number of entries for each day and kind, oldest first."""
        rows = self._database.read(
            f"""
            SELECT date_trunc('day', created_at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' AS day,
                   kind, count(*)
            FROM logentry WHERE {_SELECTED} GROUP BY day, kind ORDER BY day, kind
            """,
            asdict(selection),
        )
        return [(day, kind, count) for day, kind, count in rows]

    def list(
        self, selection: Selection, before: int | None, limit: int
    ) -> tuple[list[Entry], int | None]:
        """Return a page of entries, newest first.

        Args:
            selection: The entries to return.
            before: The position that the previous page returned; None for the first page.
            limit: The size of a page.

        Returns:
            The entries, and the position of the next page; None after the last one.
        """
        rows = self._database.read(
            f"""
            SELECT id, kind, namespace, repository, performer, ip, metadata, created_at
            FROM logentry
            WHERE {_SELECTED} AND (%(before)s::bigint IS NULL OR id < %(before)s)
            ORDER BY id DESC LIMIT %(limit)s
            """,
            {**asdict(selection), "before": before, "limit": limit + 1},
        )
        entries = [Entry(*row[1:]) for row in rows[:limit]]
        return entries, rows[limit - 1][0] if len(rows) > limit else None
