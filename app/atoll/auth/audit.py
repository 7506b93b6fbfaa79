"""The audit log: who did what."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
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

    def list(
        self,
        namespace: str | None,
        repository: str | None,
        performer: str | None,
        before: int | None,
        limit: int,
    ) -> tuple[list[Entry], int | None]:
        """Return entries, newest first, and what to give as BEFORE for the next; None at the end.

        What is None does not narrow the list.
        """
        rows = self._database.read(
            """
            SELECT id, kind, namespace, repository, performer, ip, metadata, created_at
            FROM logentry
            WHERE (%(namespace)s IS NULL OR namespace = %(namespace)s)
              AND (%(repository)s IS NULL OR repository = %(repository)s)
              AND (%(performer)s IS NULL OR performer = %(performer)s)
              AND (%(before)s::bigint IS NULL OR id < %(before)s)
            ORDER BY id DESC LIMIT %(limit)s
            """,
            {
                "namespace": namespace,
                "repository": repository,
                "performer": performer,
                "before": before,
                "limit": limit + 1,
            },
        )
        entries = [Entry(*row[1:]) for row in rows[:limit]]
        return entries, rows[limit - 1][0] if len(rows) > limit else None
