"""Replicas of the database, near to this site, for reads whose answer may be slightly old.

Where a replica has no answer, the primary is asked. While the primary is unavailable, replicas
answer alone, and what they do not have is unavailable rather than unknown. A replica that lags too
far behind is not asked (`replica_lag`).
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import psycopg2

from atoll.config import Bundle
from atoll.db.pool import ANSWER_TIMEOUT, Database, DatabaseUnavailable, Parameters
from atoll.db.replica_lag import ReplicaLag
from atoll.periodic import ThreadRegistry


@dataclass(frozen=True)
class Answer:
    """Rows, and whether they are the primary's: others must not be cached for all."""

    rows: list[Any]
    fresh: bool


class Reads:
    """Reads of a pull: from a replica where there is one, or where the primary is away."""

    def __init__(self, primary: Database, replicas: list[Database]) -> None:
        self._primary = primary
        self._lag = ReplicaLag(primary, replicas)

    @classmethod
    def from_bundle(cls, primary: Database, bundle: Bundle, *, size: int) -> Reads:
        """Return reads at the replicas of DB_READ_REPLICAS, with SIZE connections to each."""
        return cls(primary, replica_databases(bundle, size=size))

    def start(self, registry: ThreadRegistry) -> None:
        """Measure the lag of replicas in the background, and skip those that lag."""
        self._lag.start(registry)

    def near(self, sql: str, parameters: Parameters = None) -> Answer:
        """Return the answer of a replica, or the primary's if that has none.

        For what never changes once it is there. Raises DatabaseUnavailable.
        """
        rows = self._from_replica(sql, parameters)
        if rows:
            return Answer(rows, fresh=False)
        return Answer(self._primary.read(sql, parameters), fresh=True)

    def current(self, sql: str, parameters: Parameters = None) -> Answer:
        """Return the primary's answer; a replica's only while the primary is away.

        Raises DatabaseUnavailable, also where no replica has an answer.
        """
        try:
            return Answer(self._primary.read(sql, parameters), fresh=True)
        except DatabaseUnavailable:
            rows = self._from_replica(sql, parameters)
            if not rows:
                raise
            return Answer(rows, fresh=False)

    def _from_replica(self, sql: str, parameters: Parameters) -> list[Any]:
        """Return the rows of the first replica that answers; none where none does."""
        replicas = self._lag.current()
        for replica in random.sample(replicas, len(replicas)):
            try:
                return replica.read(sql, parameters)
            except (DatabaseUnavailable, psycopg2.OperationalError):
                # The latter is a query that stood in the way of what the primary did since.
                continue
        return []


def replica_databases(
    bundle: Bundle, *, size: int, answer_timeout: float = ANSWER_TIMEOUT
) -> list[Database]:
    """Return the replicas of DB_READ_REPLICAS, with SIZE connections to each."""
    return [
        Database(
            replica.db_uri.get_secret_value(),
            {**bundle.db_connection_args, **replica.db_connection_args},
            size=size,
            answer_timeout=answer_timeout,
            writes=False,
        )
        for replica in bundle.db_read_replicas
    ]
