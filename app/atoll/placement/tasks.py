"""The queue of replication tasks: one row for each blob to be copied to a location.

The transaction that creates the need for a copy writes the task (`task_creation`). The transaction
that writes the placement deletes it. In between, a worker holds it with a lease
(`db.leased_queue`).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from atoll.db.leased_queue import (
    SET_LEASE,
    Backoff,
    LeasedQueue,
    LeasedTable,
    LeaseLost,
    lease_parameters,
    unleased,
)
from atoll.db.pool import Database
from atoll.db.transient import is_transient
from atoll.names import Digest
from atoll.placement.location_locks import ACCEPTS_PLACEMENTS, TRY_LOCK_LOCATION_SHARED
from atoll.placement.locks import lock_digests_shared
from atoll.placement.placements import record_good

log = logging.getLogger(__name__)

LEASE_SECONDS = 30
# The greatest pause is 15 minutes where an object cannot be read, so that many such objects do not
# delay all others, and one minute where the target cannot be written, which affects all tasks.
_JITTER = 0.25
_SOURCE_BACKOFF = Backoff(first=2.0, maximum=900.0, jitter=_JITTER)
_TARGET_BACKOFF = Backoff(first=2.0, maximum=60.0, jitter=_JITTER)

TABLE = LeasedTable("replicationtask")

# The due tasks of one class without a lease, in order, between two positions and at most a window
# of them. Both positions are index conditions, so the cost depends neither on tasks before the
# first one, even finished ones that an old snapshot keeps, nor on tasks that are due later.
_DUE = f"""
    (SELECT t.id, t.storage_id, t.urgent, t.available_at FROM replicationtask t
     WHERE t.location_id = (SELECT id FROM target) AND t.large = %(large)s AND {{urgent}}
       AND (t.available_at, t.id) > (%({{name}}_after)s::timestamptz,
                                    %({{name}}_after_id)s::bigint)
       AND (t.available_at, t.id) <= (%({{name}}_until)s::timestamptz,
                                     %({{name}}_until_id)s::bigint)
       AND t.available_at <= (SELECT now FROM moment)
       AND {unleased("t", "(SELECT now FROM moment)")}
       AND t.id <> ALL(%(held)s::bigint[])
     ORDER BY t.available_at, t.id LIMIT %(window)s)"""

# Claims only tasks with a readable source. The others are not updated, and a later claim that
# starts at the returned position skips them. Each row of the result contains the positions reached
# and the numbers of examined tasks; there is one row even if nothing was claimed.
#
# Where an old snapshot keeps finished tasks, the planner believes the table to be almost empty and
# would read all of it. So rows are looked up by id, with no other indexable condition, and updated
# by ctid.
_CLAIM = f"""
WITH moment AS MATERIALIZED (SELECT clock_timestamp() AS now),
target AS MATERIALIZED (
    SELECT id FROM imagestoragelocation WHERE name = %(location)s AND state = 'active'
), due AS MATERIALIZED ({_DUE.format(urgent="t.urgent", name="urgent")}
    UNION ALL{_DUE.format(urgent="NOT t.urgent", name="usual")}
), next AS (
    SELECT t.place FROM (
        SELECT id FROM due WHERE %(sources)s::text[] IS NULL OR EXISTS (
            SELECT FROM imagestorageplacement p JOIN imagestoragelocation l ON l.id = p.location_id
            WHERE p.storage_id = due.storage_id AND p.state = 'good'
              AND l.name = ANY(%(sources)s::text[]))
        ORDER BY urgent DESC, available_at, id) AS possible
    CROSS JOIN LATERAL (
        SELECT t.ctid AS place FROM replicationtask t
        WHERE t.id = possible.id AND t.available_at + interval '0' <= (SELECT now FROM moment)
          AND {unleased("t", "(SELECT now FROM moment)")}
        FOR UPDATE SKIP LOCKED) AS t
    LIMIT %(limit)s
), claimed AS (
    UPDATE replicationtask t
    SET {SET_LEASE}
    WHERE t.ctid = ANY(ARRAY(SELECT place FROM next))
    RETURNING t.*
), reached AS (
    SELECT DISTINCT ON (urgent) urgent, available_at, id,
           count(*) OVER (PARTITION BY urgent) AS examined
    FROM due ORDER BY urgent, available_at DESC, id DESC
)
SELECT moment.now, a.available_at, a.id, coalesce(a.examined, 0),
       b.available_at, b.id, coalesce(b.examined, 0), c.*
FROM moment LEFT JOIN reached a ON a.urgent LEFT JOIN reached b ON NOT b.urgent
LEFT JOIN (
    SELECT c.urgent, c.available_at, c.id, c.lease_token, c.attempts, c.upload_id,
           s.id AS storage_id, s.content_checksum, s.image_size,
           array(SELECT l.name FROM imagestorageplacement p JOIN imagestoragelocation l
                 ON l.id = p.location_id WHERE p.storage_id = s.id AND p.state = 'good'),
           clock_timestamp(),
           array(SELECT l.name FROM placementdoubt d JOIN imagestoragelocation l
                 ON l.id = d.location_id WHERE d.storage_id = s.id),
           EXISTS (SELECT FROM imagestorageplacement p WHERE p.storage_id = s.id
                   AND p.location_id = c.location_id AND p.state = 'suspect')
    FROM claimed c JOIN imagestorage s ON s.id = c.storage_id) c ON true
"""

# Deletes the tasks and writes the placements in one step, for the lease holder only. Nothing is
# written for an object that was deleted since the claim, which the deleter's exclusive lock on the
# digest makes visible; the blob is copied again after the lease. Nothing is placed while a removal
# of the location proves that every blob has another copy, nor afterwards.
_FINISH = f"""
{lock_digests_shared("%(digests)s")}
{TRY_LOCK_LOCATION_SHARED}
{TABLE.lock_held}
WITH held AS (
    SELECT * FROM unnest(%(ids)s::bigint[], %(tokens)s::uuid[], %(digests)s::text[],
                         %(claimed)s::timestamptz[]) AS held (id, token, digest, claimed_at)
), ours AS ({TABLE.held_rows()}), done AS (
    DELETE FROM replicationtask t
    WHERE t.ctid = ANY(ARRAY(
        SELECT place FROM ours WHERE NOT EXISTS (
            SELECT FROM contentdeletion c WHERE c.digest = ours.digest
            AND c.location = %(location)s AND c.deleted_at >= ours.claimed_at)))
      AND EXISTS (SELECT FROM imagestoragelocation l
                  WHERE l.name = %(location)s AND {ACCEPTS_PLACEMENTS})
    RETURNING t.storage_id, t.location_id, t.lease_token
), placed AS ({record_good("SELECT storage_id, location_id FROM done ORDER BY storage_id")}
)
SELECT lease_token FROM done
"""

# Postpones tasks whose object may still be deleted: until the deletion's outcome is certain, a copy
# could disappear.
_POSTPONE = """
UPDATE replicationtask t
SET lease_token = NULL, lease_expires = NULL,
    last_error = 'a deletion of the same object is under way or unresolved',
    available_at = CASE WHEN blocked.under_way
        THEN clock_timestamp() + make_interval(secs => %(seconds)s) ELSE blocked.until END
FROM (
    SELECT l.id, max(c.deleted_at) AS until, bool_or(c.deleter IS NOT NULL) AS under_way
    FROM (SELECT t.id, held.digest FROM replicationtask t
          JOIN unnest(%(ids)s::bigint[], %(tokens)s::uuid[], %(digests)s::text[])
               AS held (id, token, digest) ON t.id = held.id AND t.lease_token = held.token
          ORDER BY t.id FOR UPDATE OF t) AS l
    JOIN contentdeletion c ON c.digest = l.digest
    WHERE c.location = %(location)s AND c.deleted_at > clock_timestamp()
    GROUP BY l.id) AS blocked
WHERE t.id = blocked.id
"""

_RECORD_UPLOAD = f"""
UPDATE replicationtask SET upload_id = %(upload_id)s
WHERE {TABLE.is_held} RETURNING id
"""


@dataclass(frozen=True)
class Task:
    """A claimed task: copy a blob to a location.

    Attributes:
        id: the task's key.
        lease_token: the token that the claim set.
        attempts: the number of attempts, including this one.
        upload_id: the multipart upload that an earlier attempt left at the target.
        storage_id: the key of the blob.
        digest: the blob's digest.
        size: the blob's size in bytes.
        placements: locations with a good copy.
        claimed_at: the database's time of the claim.
        large: whether the blob is copied in parts.
        doubted: locations whose copy another site found wrong.
        quarantined: whether the target has a quarantined copy.
    """

    id: int
    lease_token: UUID
    attempts: int
    upload_id: str | None
    storage_id: int
    digest: Digest
    size: int
    placements: list[str]
    claimed_at: datetime
    large: bool
    doubted: list[str]
    quarantined: bool


# A position in the queue: the time when a task is due, and its id.
Position = tuple[datetime | str, int]
# The positions among urgent tasks (True) and among all others (False), which are separate queues.
Positions = Mapping[bool, Position]
START: Positions = {True: ("-infinity", 0), False: ("-infinity", 0)}
END: Positions = {True: ("infinity", 2**63 - 1), False: ("infinity", 2**63 - 1)}


@dataclass(frozen=True)
class Section:
    """The tasks after one position, up to and including another."""

    after: Positions
    until: Positions

    def parameters(self) -> dict[str, object]:
        """Return the positions as parameters of a claim."""
        values: dict[str, object] = {}
        for urgent, name in ((True, "urgent"), (False, "usual")):
            values[f"{name}_after"], values[f"{name}_after_id"] = self.after[urgent]
            values[f"{name}_until"], values[f"{name}_until_id"] = self.until[urgent]
        return values


@dataclass(frozen=True)
class ClaimResult:
    """The result of a claim.

    Attributes:
        tasks: the claimed tasks.
        after: positions up to which nothing more can be claimed now.
        examined: number of tasks that were examined.
        ended: whether the end of the section was reached.
        now: the database's time before the claim.
    """

    tasks: list[Task]
    after: Positions
    examined: int
    ended: bool
    now: datetime


class Tasks:
    """The replication tasks of one location."""

    def __init__(
        self, database: Database, location: str, *, lease_seconds: float = LEASE_SECONDS
    ) -> None:
        self.location = location
        self._lease_seconds = lease_seconds
        self._queue = LeasedQueue(
            database, TABLE, lease_seconds=lease_seconds, backoff=_SOURCE_BACKOFF
        )

    def claim(self, *, large: bool = False, limit: int = 1, held: Sequence[int] = ()) -> list[Task]:
        """Claim the tasks that have waited longest, of large or of small blobs.

        Args:
            large: whether to claim tasks of large or of small blobs.
            limit: the most tasks to claim.
            held: ids of tasks in progress in this process, whose leases may have expired.
        """
        section = Section(START, END)
        return self.claim_within(section, large=large, limit=limit, window=limit, held=held).tasks

    def claim_within(
        self,
        section: Section,
        *,
        large: bool,
        limit: int,
        window: int,
        held: Sequence[int] = (),
        sources: Sequence[str] | None = None,
    ) -> ClaimResult:
        """Claim the first tasks of a section of the queue.

        Args:
            section: the section.
            large: whether to claim tasks of large or of small blobs.
            limit: the most tasks to claim.
            window: the most tasks to examine, of urgent and of other tasks each.
            held: ids of tasks in progress in this process, whose leases may have expired.
            sources: locations that blobs can be copied from, None for all.
        """
        rows = self._queue.claim(
            _CLAIM,
            {
                **section.parameters(),
                "location": self.location,
                "large": large,
                "limit": limit,
                "window": window,
                "held": list(held),
                "sources": None if sources is None else list(sources),
            },
        )
        now, *counts = rows[0][:7]
        examined = {True: counts[2], False: counts[5]}
        found = [
            (row[7], _task(row[9:], large=large), row[8]) for row in rows if row[7] is not None
        ]
        after = dict(section.after)
        for urgent, (at, task_id) in ((True, counts[:2]), (False, counts[3:5])):
            if examined[urgent]:
                after[urgent] = (at, task_id)
        if len(found) == limit:
            # More of the examined tasks may follow the last claimed one.
            urgent, last, at = max(found, key=lambda one: (not one[0], one[2], one[1].id))
            after[urgent] = (at, last.id)
            if urgent:
                after[False] = section.after[False]
        return ClaimResult(
            [task for _urgent, task, _at in found],
            after,
            sum(examined.values()),
            len(found) < limit and max(examined.values()) < window,
            now,
        )

    def extend(self, tasks: list[Task]) -> set[UUID]:
        """Extend leases and return the tokens of those that are still held."""
        return self._queue.extend(tasks)

    def finish(self, tasks: list[Task]) -> set[UUID]:
        """Write the placements and delete the tasks.

        One round trip, and another one if some tasks cannot be finished.

        Returns:
            The lease tokens of the finished tasks. Nothing was written for the others: their lease
            was lost, or their object was or may still be deleted.
        """
        values = {
            **self._values(tasks),
            "claimed": [task.claimed_at for task in tasks],
        }
        finished = {row[0] for row in self._queue.run(_FINISH, values)}
        if unfinished := [task for task in tasks if task.lease_token not in finished]:
            try:
                self._postpone(unfinished)
            except Exception as error:
                # The finished tasks are unaffected; the others are claimed after their leases.
                fields = {"tasks": len(unfinished), "cause": str(error)}
                log.warning("tasks not postponed", extra=fields, exc_info=not is_transient(error))
        return finished

    def give_back(self, tasks: list[Task]) -> None:
        """Release tasks that were interrupted; they can be claimed at once."""
        self._queue.give_back(tasks)

    def release(self, task: Task, error: str, *, at_target: bool = False) -> None:
        """Release a failed task, which is retried indefinitely with growing pauses.

        Args:
            task: the task.
            error: the reason.
            at_target: whether the blob could not be written, rather than not be read.
        """
        backoff = _TARGET_BACKOFF if at_target else _SOURCE_BACKOFF
        self._queue.release(task, error, backoff=backoff)

    def record_upload(self, task: Task, upload_id: str | None) -> None:
        """Record the multipart upload in progress, so that the next attempt resumes it.

        Raises:
            LeaseLost: another worker claimed the task, or it is gone.
        """
        if not self._queue.finish(task, _RECORD_UPLOAD, {"upload_id": upload_id}):
            raise LeaseLost(str(task.digest))

    def _postpone(self, tasks: list[Task]) -> None:
        self._queue.run(_POSTPONE, {**self._values(tasks), "seconds": self._lease_seconds})

    def _values(self, tasks: list[Task]) -> dict[str, Any]:
        return {
            **lease_parameters(tasks),
            "location": self.location,
            "digests": [str(task.digest) for task in tasks],
        }


def _task(row: Sequence[Any], *, large: bool) -> Task:
    task_id, token, attempts, upload_id, storage_id, digest, size, good, claimed_at, *doubts = row
    return Task(
        task_id,
        token,
        attempts,
        upload_id,
        storage_id,
        Digest.parse(digest),
        size,
        good,
        claimed_at,
        large,
        *doubts,
    )
