"""The audit log: who did what."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from atoll.db.pool import Database


@dataclass(frozen=True)
class Entry:
    """One thing that was done. METADATA holds no secrets."""

    kind: str
    namespace: str | None
    repository: str | None
    performer: str | None
    ip: str | None
    metadata: Mapping[str, Any]
    created_at: datetime | None = None

    def parameters(self) -> dict[str, object]:
        """Return what a statement of `logged` takes."""
        return {
            "log_kind": self.kind,
            "log_namespace": self.namespace,
            "log_repository": self.repository,
            "log_performer": self.performer,
            "log_ip": self.ip,
            "log_metadata": json.dumps(dict(self.metadata)),
        }


def logged(statement: str) -> str:
    """Return one statement that makes a change and, if it changed something, keeps its entry.

    STATEMENT is an INSERT, UPDATE or DELETE with RETURNING, whose rows are returned. The whole
    takes the entry's `parameters`.
    """
    return f"""
    WITH changed AS ({statement}), kept AS (
        INSERT INTO logentry (kind, namespace, repository, performer, ip, metadata)
        SELECT %(log_kind)s, %(log_namespace)s, %(log_repository)s, %(log_performer)s, %(log_ip)s,
               %(log_metadata)s
        FROM changed LIMIT 1
    )
    SELECT * FROM changed
    """


@dataclass(frozen=True)
class Selection:
    """Which entries: those of a time, and of what is not None."""

    start: datetime
    end: datetime
    namespace: str | None = None
    repository: str | None = None
    performer: str | None = None


# A name may have been somebody else's before, whose log is not for who has it now.
_SELECTED = """
    created_at >= %(start)s AND created_at < %(end)s
    AND created_at >= coalesce(
        (SELECT u.created_at FROM "user" u WHERE u.username = %(namespace)s), '-infinity')
    AND (%(namespace)s IS NULL OR namespace = %(namespace)s)
    AND (%(repository)s IS NULL OR repository = %(repository)s)
    AND (%(performer)s IS NULL OR performer = %(performer)s)
"""


class Audit:
    """Writes and reads entries."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def write(self, entry: Entry) -> None:
        """Keep an entry."""
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

    def write_all(self, entries: Sequence[Entry], beside: str = "") -> None:
        """Keep many entries in one round trip, each as of its own moment.

        BESIDE are statements of the same transaction, which take %(entries)s, too.
        """
        self._database.run(
            beside
            + """
            INSERT INTO logentry (kind, namespace, repository, performer, ip, metadata, created_at)
            SELECT * FROM jsonb_to_recordset(%(entries)s) AS entry (
                kind text, namespace text, repository text, performer text, ip text,
                metadata jsonb, created_at timestamptz)
            """,
            {"entries": json.dumps([asdict(entry) for entry in entries], default=str)},
        )

    def counts(self, selection: Selection) -> list[tuple[datetime, str, int]]:
        """Return how many entries of each kind there are of each day, oldest first."""
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
        """Return entries, newest first, and the BEFORE of the next page; None at the end."""
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
