"""Reads from nearby replicas of the database, for results that may be slightly stale.

If a replica returns no rows, the primary is queried. While the primary is unavailable, replicas are
queried alone; rows that they lack count as unavailable rather than nonexistent. Replicas with a
high lag are skipped (`replica_lag`).
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import psycopg2

from atoll.config import Bundle
from atoll.db.pool import (
    ANSWER_TIMEOUT,
    Database,
    DatabaseUnavailable,
    MissingMigrations,
    Parameters,
)
from atoll.db.replica_lag import ReplicaLag
from atoll.db.statement import Statement
from atoll.periodic import ThreadRegistry


@dataclass(frozen=True)
class Answer:
    """The rows of a read; `fresh` if they are the primary's. Others must not be cached."""

    rows: list[Any]
    fresh: bool


class Reads:
    """Read queries of pulls, on a replica if there is one or if the primary is unavailable."""

    def __init__(self, primary: Database, replicas: list[Database]) -> None:
        self._primary = primary
        self._lag = ReplicaLag(primary, replicas)

    @classmethod
    def from_bundle(cls, primary: Database, bundle: Bundle, *, size: int) -> Reads:
        """Return reads on DB_READ_REPLICAS, with a pool of `size` connections to each."""
        replicas = replica_databases(
            bundle, size=size, missing_migrations=primary.missing_migrations
        )
        return cls(primary, replicas)

    def start(self, registry: ThreadRegistry) -> None:
        """Measure the lag of replicas in the background, and skip those that lag."""
        self._lag.start(registry)

    def near(self, sql: str | Statement, parameters: Parameters = None) -> Answer:
        """Query a replica, or the primary if the replica returns no rows.

        For rows that never change after their creation.

        Raises:
            DatabaseUnavailable: No replica has rows, and the primary is unavailable.
        """
        rows = self._from_replica(sql, parameters)
        if rows:
            return Answer(rows, fresh=False)
        return Answer(self._primary.read(sql, parameters), fresh=True)

    def current(self, sql: str | Statement, parameters: Parameters = None) -> Answer:
        """Query the primary, or a replica while the primary is unavailable.

        Raises:
            DatabaseUnavailable: The primary is unavailable, and no replica returns rows.
        """
        try:
            return Answer(self._primary.read(sql, parameters), fresh=True)
        except DatabaseUnavailable:
            rows = self._from_replica(sql, parameters)
            if not rows:
                raise
            return Answer(rows, fresh=False)

    def _from_replica(self, sql: str | Statement, parameters: Parameters) -> list[Any]:
        """Return the rows of the first replica that responds; none if no replica does."""
        replicas = self._lag.current()
        for replica in random.sample(replicas, len(replicas)):
            try:
                return replica.read(sql, parameters)
            except (DatabaseUnavailable, psycopg2.OperationalError):
                # OperationalError: the query conflicted with recovery on the standby.
                continue
        return []


def replica_databases(
    bundle: Bundle,
    *,
    size: int,
    answer_timeout: float = ANSWER_TIMEOUT,
    missing_migrations: MissingMigrations | None = None,
) -> list[Database]:
    """Return a database for each of DB_READ_REPLICAS, with a pool of `size` connections.

    With `missing_migrations`, a replica that has not replayed required migrations is unavailable.
    """
    return [
        Database(
            replica.db_uri.get_secret_value(),
            {**bundle.db_connection_args, **replica.db_connection_args},
            size=size,
            answer_timeout=answer_timeout,
            writes=False,
            missing_migrations=missing_migrations,
        )
        for replica in bundle.db_read_replicas
    ]
