"""The task table: one row for each blob to be copied to a location.

A row is written by the transaction that creates the need, claimed with a lease on the database's
clock, and deleted by the transaction that writes the placement. Every write after the claim names
the lease token; no row means that the lease was lost and another worker may have the task.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from atoll.db.pool import Database
from atoll.db.transient import is_transient, run_with_retries
from atoll.names import Digest
from atoll.replication.required import required_in, urgent_in

log = logging.getLogger(__name__)

LEASE_SECONDS = 30
_BACKOFF_MAXIMUM_SECONDS = 60


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


_CLAIM = """
WITH next AS (
    SELECT id FROM replicationtask
    WHERE location_id = (SELECT id FROM imagestoragelocation
                         WHERE name = %(location)s AND state = 'active')
      AND large = %(large)s
      AND available_at <= clock_timestamp()
      AND (lease_expires IS NULL OR lease_expires <= clock_timestamp())
      AND id <> ALL(%(held)s::bigint[])
    ORDER BY urgent DESC, available_at, id
    LIMIT %(limit)s FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE replicationtask t
    SET lease_token = gen_random_uuid(),
        lease_expires = clock_timestamp() + make_interval(secs => %(seconds)s),
        attempts = attempts + 1
    FROM next WHERE t.id = next.id
    RETURNING t.*
)
SELECT c.id, c.lease_token, c.attempts, c.upload_id, s.id, s.content_checksum, s.image_size,
       array(SELECT l.name FROM imagestorageplacement p JOIN imagestoragelocation l
             ON l.id = p.location_id WHERE p.storage_id = s.id AND p.state = 'good'),
       clock_timestamp()
FROM claimed c JOIN imagestorage s ON s.id = c.storage_id
"""

# Each statement about several tasks locks their rows in the order of their ids, so that two of them
# cannot deadlock.
_HELD = """
held AS (
    SELECT * FROM unnest(%(ids)s::bigint[], %(tokens)s::uuid[]) AS held (id, token)
)"""
_LOCK = """
    SELECT t.id FROM replicationtask t JOIN held ON t.id = held.id AND t.lease_token = held.token
    ORDER BY t.id FOR UPDATE OF t"""

# A row that another statement has locked is being finished or released, or is renewed next time: it
# is not waited for, and it is ours for as long as it has our token. That also holds after the lease
# expired, for whoever takes over a task changes the token or deletes the row.
_EXTEND = f"""
WITH {_HELD}, locked AS ({_LOCK} SKIP LOCKED), extended AS (
    UPDATE replicationtask t
    SET lease_expires = clock_timestamp() + make_interval(secs => %(seconds)s)
    FROM locked WHERE t.id = locked.id
)
SELECT t.lease_token FROM replicationtask t
JOIN held ON t.id = held.id AND t.lease_token = held.token
"""

# Deleting the task and writing the placement is one step, for the lease holder only, and only if
# the object was not deleted since the claim: a deleter holds the digest's lock exclusively. In that
# case the blob is copied again when the lease has expired.
_FINISH = f"""
SELECT pg_advisory_xact_lock_shared(hashtextextended(digest, 0))
FROM unnest(%(digests)s::text[]) AS digest ORDER BY hashtextextended(digest, 0);
WITH held AS (
    SELECT * FROM unnest(%(ids)s::bigint[], %(tokens)s::uuid[], %(digests)s::text[],
                         %(claimed)s::timestamptz[]) AS held (id, token, digest, claimed_at)
), locked AS ({_LOCK}), done AS (
    DELETE FROM replicationtask t USING locked JOIN held ON held.id = locked.id
    WHERE t.id = locked.id AND t.lease_token = held.token AND NOT EXISTS (
        SELECT FROM contentdeletion c WHERE c.digest = held.digest
        AND c.location = %(location)s AND c.deleted_at >= held.claimed_at)
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
WITH {_HELD}, locked AS ({_LOCK})
UPDATE replicationtask t
SET lease_token = NULL, lease_expires = NULL, attempts = attempts - 1
FROM locked WHERE t.id = locked.id
"""

_REMEMBER_UPLOAD = """
UPDATE replicationtask SET upload_id = %(upload_id)s
WHERE id = %(id)s AND lease_token = %(token)s RETURNING id
"""

# A placement that proved wrong is put in quarantine and written anew, unless it was written anew
# since the claim: then what was read may be older than it.
_SUSPECT = """
WITH quarantined AS (
    UPDATE imagestorageplacement p SET state = 'suspect'
    FROM imagestoragelocation l
    WHERE l.id = p.location_id AND l.name = %(location)s AND p.storage_id = %(storage_id)s
      AND p.verified_at < %(claimed_at)s
    RETURNING p.storage_id, p.location_id
)
INSERT INTO replicationtask (storage_id, location_id)
SELECT storage_id, location_id FROM quarantined
ON CONFLICT (storage_id, location_id) DO NOTHING
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


class LeaseLost(Exception):
    """Another worker claimed the task, or it is gone."""


class Tasks:
    """The task table, for the worker of one location."""

    def __init__(
        self, database: Database, location: str, *, lease_seconds: float = LEASE_SECONDS
    ) -> None:
        self._database = database
        self._location = location
        self._lease_seconds = lease_seconds

    def claim(self, *, large: bool = False, limit: int = 1, held: Sequence[int] = ()) -> list[Task]:
        """Claim up to LIMIT tasks of large or of small blobs: those that waited longest.

        HELD are the ids of tasks that this process works on, even if their leases expired.
        """
        parameters = {
            "location": self._location,
            "seconds": self._lease_seconds,
            "large": large,
            "limit": limit,
            "held": list(held),
        }
        return [
            Task(
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
            )
            for task_id, token, attempts, upload_id, storage_id, digest, size, good, claimed_at in (
                self._run(_CLAIM, parameters)
            )
        ]

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
            "location": self._location,
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
            "location": self._location,
            "digests": [str(task.digest) for task in tasks],
            "seconds": self._lease_seconds,
        }
        self._run(_POSTPONE, values)

    def give_back(self, tasks: list[Task]) -> None:
        """Release tasks that can be claimed again at once."""
        self._run(_GIVE_BACK, _held(tasks))

    def release(self, task: Task, error: str) -> None:
        """Give a failed task back; it is tried again, later each time, and never given up."""
        wait = min(2 ** min(task.attempts, 10), _BACKOFF_MAXIMUM_SECONDS)
        self._run(
            _RELEASE,
            {
                "id": task.id,
                "token": task.lease_token,
                "error": error[:1000],
                "wait": wait,
            },
        )

    def remember_upload(self, task: Task, upload_id: str | None) -> None:
        """Note the multipart upload that is under way, so that a successor goes on with it.

        Raises LeaseLost.
        """
        values = {"id": task.id, "token": task.lease_token, "upload_id": upload_id}
        if not self._run(_REMEMBER_UPLOAD, values):
            raise LeaseLost(str(task.digest))

    def suspect(self, task: Task, location: str) -> None:
        """Note that the bytes at LOCATION are not the blob's, and order them anew."""
        self._run(
            _SUSPECT,
            {
                "storage_id": task.storage_id,
                "location": location,
                "claimed_at": task.claimed_at,
            },
        )

    def _run(self, statement: str, parameters: Mapping[str, Any]) -> list[Any]:
        return run_with_retries(self._database, statement, parameters)


def _held(tasks: list[Task]) -> dict[str, list[Any]]:
    """Return the parameters that name leases; tokens alone would be looked for in every task."""
    return {
        "ids": [task.id for task in tasks],
        "tokens": [task.lease_token for task in tasks],
    }
