"""Replication tasks whose last attempt failed, and the numbers of urgent tasks.

Statements read a bounded number of tasks of each location, in the order of an index.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from atoll.db import estimates
from atoll.db.estimates import BY_INDEX
from atoll.db.leased_queue import unleased
from atoll.db.pool import Database

# Failing tasks that one call of `retry` examines.
RETRIED_MAXIMUM = 2000

# The first failing tasks of all locations are among the first ones of each. The location is a
# range, so that only the index of failing tasks has the order: with an equality the planner may
# read all tasks in the order of their keys, for a location where few fail.
_FIRST = """
SELECT l.name, t.* FROM imagestoragelocation l CROSS JOIN LATERAL (
    SELECT * FROM replicationtask t
    WHERE (t.location_id, t.id) > (l.id, %(after)s) AND t.location_id <= l.id
      AND t.last_error IS NOT NULL
    ORDER BY t.location_id, t.id LIMIT %(limit)s) t
WHERE %(location)s::text IS NULL OR l.name = %(location)s
ORDER BY t.id LIMIT %(limit)s
"""

_LIST = f"""
SELECT t.id, t.name, s.content_checksum, s.image_size, t.attempts, t.urgent, t.last_error,
       t.created_at,
       CASE WHEN {unleased("t")} THEN t.available_at END
FROM ({_FIRST}) t JOIN imagestorage s ON s.id = t.storage_id ORDER BY t.id
"""

_RETRY = f"""
WITH examined AS MATERIALIZED (SELECT id FROM ({_FIRST}) t), waiting AS MATERIALIZED (
    SELECT t.id FROM replicationtask t
    WHERE t.id = ANY(ARRAY(SELECT id FROM examined)) AND t.available_at > clock_timestamp()
      AND {unleased("t")}
    ORDER BY t.id FOR UPDATE SKIP LOCKED
), retried AS (
    UPDATE replicationtask t SET available_at = clock_timestamp() FROM waiting
    WHERE t.id = waiting.id RETURNING t.id
)
SELECT (SELECT count(*) FROM retried), (SELECT count(*) FROM examined),
       (SELECT max(id) FROM examined)
"""

# Counted in the order of the index of urgent tasks, which the planner then uses.
_URGENT = """
SELECT l.name, (
    SELECT count(*) FROM (VALUES (true), (false)) AS c (large)
    CROSS JOIN LATERAL (
        SELECT FROM replicationtask t
        WHERE t.location_id = l.id AND t.large = c.large AND t.urgent
        ORDER BY t.available_at, t.id LIMIT %(limit)s) urgent)
FROM imagestoragelocation l
"""


@dataclass(frozen=True)
class FailingTask:
    """A pending copy whose last attempt failed.

    Attributes:
        id: the key of the task, which ascends with time.
        location: the target.
        digest: the digest of the blob.
        bytes: its size.
        attempts: the number of attempts.
        urgent: whether it is claimed before others.
        last_error: the reason of the last failure.
        created_at: when the copy became pending.
        next_attempt_at: when the next attempt is due; None while one is in progress.
    """

    id: int
    location: str
    digest: str
    bytes: int
    attempts: int
    urgent: bool
    last_error: str
    created_at: datetime
    next_attempt_at: datetime | None


@dataclass(frozen=True)
class Retried:
    """The number of tasks that became due; `more` is the last examined one if others follow."""

    tasks: int
    more: int | None


class FailingTasks:
    """Lists failing tasks and makes them due."""

    def __init__(self, database: Database, *, maximum: int = RETRIED_MAXIMUM) -> None:
        """Make the queries.

        Args:
            database: where the tasks are.
            maximum: failing tasks that one call of `retry` examines.
        """
        self._database = database
        self._maximum = maximum

    def first(
        self, limit: int, *, location: str | None = None, after: int = 0
    ) -> list[FailingTask]:
        """Return the first failing tasks, in the order of their keys.

        Args:
            limit: the maximum number of tasks.
            location: the target, None for all.
            after: the key of the last task of the previous page.

        Raises:
            DatabaseUnavailable: the database cannot be reached.
        """
        values = {"limit": limit, "location": location, "after": after}
        return [FailingTask(*row) for row in self._database.read(BY_INDEX + _LIST, values)]

    def retry(self, *, location: str | None = None, after: int = 0) -> Retried:
        """Make the next failing tasks due now, except those that are being attempted.

        Args:
            location: the target, None for all.
            after: the key of the last task that the previous call examined.

        Raises:
            DatabaseUnavailable: the database cannot be reached.
        """
        values = {"limit": self._maximum, "location": location, "after": after}
        ((tasks, examined, last),) = self._database.run(BY_INDEX + _RETRY, values)
        return Retried(tasks, last if examined == self._maximum else None)

    def urgent(self) -> dict[str, int]:
        """Return the number of urgent tasks of each location.

        Small and large blobs are each counted up to `estimates.EXACT_MAXIMUM`.

        Raises:
            DatabaseUnavailable: the database cannot be reached.
        """
        values = {"limit": estimates.EXACT_MAXIMUM}
        return dict(self._database.read(BY_INDEX + _URGENT, values))
