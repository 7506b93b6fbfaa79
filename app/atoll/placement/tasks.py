"""The task table: one row for each blob to be copied to a location.

A row is written by the transaction that creates the need, claimed with a lease on the database's
clock, and deleted by the transaction that writes the placement. Every write after the claim names
the lease token; no row means that the lease was lost and another worker may have the task.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from atoll.db.pool import Database
from atoll.db.transient import is_transient, run_with_retries
from atoll.names import Digest
from atoll.placement.location_locks import ACCEPTS_PLACEMENTS, TRY_LOCK_LOCATION_SHARED
from atoll.placement.locks import lock_digests_shared
from atoll.placement.rules import required_in, urgent_in

log = logging.getLogger(__name__)

LEASE_SECONDS = 30
# Seconds. Failed tasks are tried again after those that were due before, and less and less often:
# every quarter of an hour where an object cannot be read, so that many of them do not take the time
# of all others; every minute where nothing can be written, which concerns all tasks alike.
BACKOFF_MAXIMUM_SECONDS = 900.0
BACKOFF_TARGET_SECONDS = 60.0


def create_for_blob(repository: str) -> str:
    """Return what makes tasks where a statement lets a repository use a blob.

    What REPOSITORY, an expression for its id, requires and the blob lacks becomes a task. Expects a
    common table `blob (id, image_size)`, %(required)s, and in %(location)s where the blob was just
    placed, or null.
    """
    return f"""
    INSERT INTO replicationtask (storage_id, location_id, image_size, urgent)
    SELECT blob.id, l.id, blob.image_size, {urgent_in(repository)}
    FROM blob CROSS JOIN imagestoragelocation l
    WHERE l.name IS DISTINCT FROM %(location)s::text AND {required_in(repository, "l")}
      AND NOT EXISTS (SELECT FROM imagestorageplacement p
                      WHERE p.storage_id = blob.id AND p.location_id = l.id AND p.state = 'good')
    ON CONFLICT (storage_id, location_id) DO UPDATE SET urgent = true
        WHERE EXCLUDED.urgent AND NOT replicationtask.urgent"""


# A task for the location where its blob was just placed has nothing left to copy: the worker would
# write over a good object. A worker at work on it notices that the task is gone. Expects the common
# tables `blob (id)` and `location (id)`. Does not wait for a worker that is finishing the task.
DELETE_FOR_PLACED = """
    DELETE FROM replicationtask t WHERE t.id IN (
        SELECT t.id FROM replicationtask t, blob, location
        WHERE t.storage_id = blob.id AND t.location_id = location.id
        FOR UPDATE OF t SKIP LOCKED)"""

# The due tasks of one class without a lease, in their order: at most so many between two
# positions. Both are conditions of the index, so that the cost depends neither on tasks before the
# first one, even finished ones that an old snapshot keeps, nor on tasks that are due later.
_DUE = """
    (SELECT t.id, t.storage_id, t.urgent, t.available_at FROM replicationtask t
     WHERE t.location_id = (SELECT id FROM target) AND t.large = %(large)s AND {urgent}
       AND (t.available_at, t.id) > (%({name}_after)s::timestamptz, %({name}_after_id)s::bigint)
       AND (t.available_at, t.id) <= (%({name}_until)s::timestamptz, %({name}_until_id)s::bigint)
       AND t.available_at <= (SELECT now FROM moment)
       AND (t.lease_expires IS NULL OR t.lease_expires <= (SELECT now FROM moment))
       AND t.id <> ALL(%(held)s::bigint[])
     ORDER BY t.available_at, t.id LIMIT %(window)s)"""

# Only tasks with a source are claimed. The others stay as they are: they cost no update, and a
# later claim that starts at the position returned does not meet them again. Each row of the answer
# says how far the statement looked; there is one even if nothing was claimed.
#
# Where an old snapshot keeps finished tasks, the planner believes the table to be almost empty and
# would read all of it. So rows are looked up one by one, by their ids and by nothing else that an
# index has, and changed by their place.
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
          AND (t.lease_expires IS NULL OR t.lease_expires <= (SELECT now FROM moment))
        FOR UPDATE SKIP LOCKED) AS t
    LIMIT %(limit)s
), claimed AS (
    UPDATE replicationtask t
    SET lease_token = gen_random_uuid(),
        lease_expires = clock_timestamp() + make_interval(secs => %(seconds)s),
        attempts = attempts + 1
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

# Each statement about several tasks locks their rows in the order of their ids, so that two of them
# cannot deadlock. A second statement changes them: its snapshot shows what was waited for.
_HELD = """
held AS (
    SELECT * FROM unnest(%(ids)s::bigint[], %(tokens)s::uuid[]) AS held (id, token)
)"""
_OURS = """
    SELECT held.*, t.place FROM (SELECT * FROM held ORDER BY id) AS held
    CROSS JOIN LATERAL (
        SELECT t.ctid AS place FROM replicationtask t
        WHERE t.id = held.id AND t.lease_token = held.token OFFSET 0 {lock}) AS t"""
_LOCK = f"WITH {_HELD} {_OURS.format(lock='FOR UPDATE')};"

# A row that another statement has locked is being finished or released, or is renewed next time: it
# is not waited for, and it is ours for as long as it has our token. That also holds after the lease
# expired, because another holder changes the token or deletes the row.
_EXTEND = f"""
WITH {_HELD}, locked AS ({_OURS.format(lock="FOR UPDATE SKIP LOCKED")}), extended AS (
    UPDATE replicationtask t
    SET lease_expires = clock_timestamp() + make_interval(secs => %(seconds)s)
    WHERE t.ctid = ANY(ARRAY(SELECT place FROM locked))
)
SELECT t.lease_token FROM held CROSS JOIN LATERAL (
    SELECT t.lease_token FROM replicationtask t
    WHERE t.id = held.id AND t.lease_token = held.token OFFSET 0) AS t
"""

# Deleting the task and writing the placement is one step, for the lease holder only, and only if
# the object was not deleted since the claim: a deleter holds the digest's lock exclusively. In that
# case the blob is copied again when the lease has expired. Nor is anything placed while a removal
# of the location proves that every blob has another copy, or afterwards.
_FINISH = f"""
{lock_digests_shared("%(digests)s")}
{TRY_LOCK_LOCATION_SHARED}
{_LOCK}
WITH held AS (
    SELECT * FROM unnest(%(ids)s::bigint[], %(tokens)s::uuid[], %(digests)s::text[],
                         %(claimed)s::timestamptz[]) AS held (id, token, digest, claimed_at)
), ours AS ({_OURS.format(lock="")}), done AS (
    DELETE FROM replicationtask t
    WHERE t.ctid = ANY(ARRAY(
        SELECT place FROM ours WHERE NOT EXISTS (
            SELECT FROM contentdeletion c WHERE c.digest = ours.digest
            AND c.location = %(location)s AND c.deleted_at >= ours.claimed_at)))
      AND EXISTS (SELECT FROM imagestoragelocation l
                  WHERE l.name = %(location)s AND {ACCEPTS_PLACEMENTS})
    RETURNING t.storage_id, t.location_id, t.lease_token
), placed AS (
    INSERT INTO imagestorageplacement (storage_id, location_id)
    SELECT storage_id, location_id FROM done ORDER BY storage_id
    ON CONFLICT (storage_id, location_id) DO UPDATE SET state = 'good', verified_at = now()
)
SELECT lease_token FROM done
"""

# Copies to an address where a deletion is under way, or where its outcome is unknown, are no use
# until that is over.
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

_RELEASE = """
UPDATE replicationtask
SET lease_token = NULL, lease_expires = NULL, last_error = %(error)s,
    available_at = clock_timestamp() + make_interval(secs => %(wait)s)
WHERE id = %(id)s AND lease_token = %(token)s
RETURNING id
"""

# A short interruption does not count as an attempt.
_GIVE_BACK = f"""
{_LOCK}
WITH {_HELD}, ours AS ({_OURS.format(lock="")})
UPDATE replicationtask t
SET lease_token = NULL, lease_expires = NULL, attempts = attempts - 1
WHERE t.ctid = ANY(ARRAY(SELECT place FROM ours))
"""

_REMEMBER_UPLOAD = """
UPDATE replicationtask SET upload_id = %(upload_id)s
WHERE id = %(id)s AND lease_token = %(token)s RETURNING id
"""


@dataclass(frozen=True)
class Task:
    """A claimed task: copy this blob to the location that was asked for."""

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
    # Locations whose copies another site doubts, and whether the target's own is in quarantine.
    doubted: list[str]
    quarantined: bool


# A position in the queue: when a task is due, and its id.
Position = tuple[datetime | str, int]
# The positions in both queues, the one of urgent tasks (True) and the one of all others.
Positions = Mapping[bool, Position]
START: Positions = {True: ("-infinity", 0), False: ("-infinity", 0)}
END: Positions = {True: ("infinity", 2**63 - 1), False: ("infinity", 2**63 - 1)}


@dataclass(frozen=True)
class Section:
    """The tasks AFTER one position, UNTIL another one (included)."""

    after: Positions
    until: Positions

    def parameters(self) -> dict[str, object]:
        """Return the positions as parameters of the statement that claims."""
        values: dict[str, object] = {}
        for urgent, name in ((True, "urgent"), (False, "usual")):
            values[f"{name}_after"], values[f"{name}_after_id"] = self.after[urgent]
            values[f"{name}_until"], values[f"{name}_until_id"] = self.until[urgent]
        return values


@dataclass(frozen=True)
class Claimed:
    """Claimed tasks, and how far the queue was looked through.

    Attributes:
        tasks: those that were claimed.
        after: up to where nothing more can be claimed now.
        examined: how many tasks were looked at.
        ended: whether the whole section was looked through.
        now: the database's clock before it was looked at.
    """

    tasks: list[Task]
    after: Positions
    examined: int
    ended: bool
    now: datetime


class LeaseLost(Exception):
    """Another worker claimed the task, or it is gone."""


class Tasks:
    """The task table, for the worker of one location."""

    def __init__(
        self, database: Database, location: str, *, lease_seconds: float = LEASE_SECONDS
    ) -> None:
        self._database = database
        self.location = location
        self._lease_seconds = lease_seconds

    def claim(self, *, large: bool = False, limit: int = 1, held: Sequence[int] = ()) -> list[Task]:
        """Claim up to LIMIT tasks of large or of small blobs: those that waited longest.

        HELD are the ids of tasks that this process works on, even if their leases expired.
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
    ) -> Claimed:
        """Claim the first tasks of SECTION.

        Args:
            section: the part of the queue to look at.
            large: whether to claim tasks of large or of small blobs.
            limit: how many tasks to claim at most.
            window: how many tasks to look at, at most, urgent and usual ones each.
            held: ids of tasks that this process works on, even if their leases expired.
            sources: locations that blobs can be copied from; None for any.
        """
        rows = self._run(
            _CLAIM,
            {
                **section.parameters(),
                "location": self.location,
                "seconds": self._lease_seconds,
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
            # Behind the last one there may be more of those that were looked at.
            urgent, last, at = max(found, key=lambda one: (not one[0], one[2], one[1].id))
            after[urgent] = (at, last.id)
            if urgent:
                after[False] = section.after[False]
        return Claimed(
            [task for _urgent, task, _at in found],
            after,
            sum(examined.values()),
            len(found) < limit and max(examined.values()) < window,
            now,
        )

    def extend(self, tasks: list[Task]) -> set[UUID]:
        """Extend the leases and return those that are still ours.

        Those that are being finished at this moment are among them.
        """
        rows = self._run(_EXTEND, {**_held(tasks), "seconds": self._lease_seconds})
        return {row[0] for row in rows}

    def finish(self, tasks: list[Task]) -> set[UUID]:
        """Write the placements and remove the tasks; return the leases for which that was done.

        Nothing was written for the others: their lease was lost, or their object was deleted or
        may be. One round trip, and one more if there are others.
        """
        values = {
            **_held(tasks),
            "location": self.location,
            "digests": [str(task.digest) for task in tasks],
            "claimed": [task.claimed_at for task in tasks],
        }
        finished = {row[0] for row in self._run(_FINISH, values)}
        if unfinished := [task for task in tasks if task.lease_token not in finished]:
            try:
                self._postpone(unfinished)
            except Exception as error:
                # What was finished stays so. The others are claimed again when their leases expire.
                fields = {"tasks": len(unfinished), "cause": str(error)}
                log.warning("tasks not postponed", extra=fields, exc_info=not is_transient(error))
        return finished

    def _postpone(self, tasks: list[Task]) -> None:
        values = {
            **_held(tasks),
            "location": self.location,
            "digests": [str(task.digest) for task in tasks],
            "seconds": self._lease_seconds,
        }
        self._run(_POSTPONE, values)

    def give_back(self, tasks: list[Task]) -> None:
        """Release tasks that can be claimed again at once."""
        self._run(_GIVE_BACK, _held(tasks))

    def release(self, task: Task, error: str, *, at_target: bool = False) -> None:
        """Release a failed task: it is tried again, later each time, and never given up.

        AT_TARGET says that the blob could not be written, rather than not be read.
        """
        maximum = BACKOFF_TARGET_SECONDS if at_target else BACKOFF_MAXIMUM_SECONDS
        wait = min(2 ** min(task.attempts, 10), maximum)
        self._run(
            _RELEASE,
            {
                "id": task.id,
                "token": task.lease_token,
                "error": error[:1000],
                # Jitter: what failed together should not come back together.
                "wait": wait * random.uniform(0.75, 1.25),  # noqa: S311
            },
        )

    def remember_upload(self, task: Task, upload_id: str | None) -> None:
        """Note the multipart upload that is under way, so that a successor goes on with it.

        Raises LeaseLost.
        """
        values = {"id": task.id, "token": task.lease_token, "upload_id": upload_id}
        if not self._run(_REMEMBER_UPLOAD, values):
            raise LeaseLost(str(task.digest))

    def _run(self, statement: str, parameters: Mapping[str, Any]) -> list[Any]:
        return run_with_retries(self._database, statement, parameters)


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


def _held(tasks: list[Task]) -> dict[str, list[Any]]:
    """Return the parameters that name leases; tokens alone would be looked for in every task."""
    return {
        "ids": [task.id for task in tasks],
        "tokens": [task.lease_token for task in tasks],
    }
