"""The task table: one row for each blob that is to be copied to a location.

A row is written by the transaction that creates the need, claimed with a lease on the database's
clock, and goes in the transaction that writes the placement. Every write after the claim names the
lease's token; no row means that the lease was lost and somebody else may be at work.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from atoll.db.pool import Database
from atoll.names import Digest

LEASE_SECONDS = 30
_BACKOFF_MAXIMUM_SECONDS = 60

# For the statement that places a blob: what is required and not placed becomes a task. Expects a
# common table `blob (id)`, %(location)s where it was just placed, and %(required)s, an array.
CREATE_FOR_BLOB = """
INSERT INTO replicationtask (storage_id, location_id)
SELECT blob.id, l.id
FROM blob JOIN imagestoragelocation l ON l.name = ANY(%(required)s)
WHERE l.name <> %(location)s AND l.state IN ('active', 'read-only')
  AND NOT EXISTS (SELECT FROM imagestorageplacement p
                  WHERE p.storage_id = blob.id AND p.location_id = l.id AND p.state = 'good')
ON CONFLICT (storage_id, location_id) DO NOTHING
"""

_CLAIM = """
WITH next AS (
    SELECT id FROM replicationtask
    WHERE location_id = (SELECT id FROM imagestoragelocation
                         WHERE name = %(location)s AND state = 'active')
      AND available_at <= clock_timestamp()
      AND (lease_expires IS NULL OR lease_expires <= clock_timestamp())
    ORDER BY available_at, id
    LIMIT 1 FOR UPDATE SKIP LOCKED
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
       array(SELECT l.name FROM imagestorageplacement p JOIN imagestoragelocation l
             ON l.id = p.location_id WHERE p.storage_id = s.id AND p.state <> 'good')
FROM claimed c JOIN imagestorage s ON s.id = c.storage_id
"""

_EXTEND = """
UPDATE replicationtask
SET lease_expires = clock_timestamp() + make_interval(secs => %(seconds)s)
WHERE lease_token = ANY(%(tokens)s) AND lease_expires > clock_timestamp()
RETURNING lease_token
"""

# To delete the task and to write the placement is one step, for the holder of the lease only.
_FINISH = """
WITH done AS (
    DELETE FROM replicationtask WHERE id = %(id)s AND lease_token = %(token)s
    RETURNING storage_id, location_id
)
INSERT INTO imagestorageplacement (storage_id, location_id)
SELECT storage_id, location_id FROM done
ON CONFLICT (storage_id, location_id) DO UPDATE SET state = 'good', verified_at = now()
RETURNING id
"""

_RELEASE = """
UPDATE replicationtask
SET lease_token = NULL, lease_expires = NULL, last_error = %(error)s,
    upload_id = coalesce(%(upload_id)s, upload_id),
    available_at = clock_timestamp() + make_interval(secs => %(wait)s)
WHERE id = %(id)s AND lease_token = %(token)s
RETURNING id
"""

_REMEMBER_UPLOAD = """
UPDATE replicationtask SET upload_id = %(upload_id)s
WHERE id = %(id)s AND lease_token = %(token)s RETURNING id
"""

# A placement that proved wrong: remember it, and have it written anew.
_SUSPECT = """
UPDATE imagestorageplacement p SET state = 'suspect'
FROM imagestoragelocation l
WHERE l.id = p.location_id AND l.name = %(location)s AND p.storage_id = %(storage_id)s;
INSERT INTO replicationtask (storage_id, location_id)
SELECT %(storage_id)s, id FROM imagestoragelocation WHERE name = %(location)s
ON CONFLICT (storage_id, location_id) DO NOTHING;
"""


@dataclass(frozen=True)
class Task:
    """A claimed task: copy this blob to the location that was asked for."""

    id: int
    lease_token: UUID
    attempts: int
    abandoned_upload: str | None
    storage_id: int
    digest: Digest
    size: int
    placements: list[str]
    suspects: list[str]


class LeaseLost(Exception):
    """The lease ran out, and the task may be somebody else's now."""


class Tasks:
    """The task table, for the worker of one location."""

    def __init__(self, database: Database, location: str) -> None:
        self._database = database
        self._location = location

    def claim(self) -> Task | None:
        """Claim the task that has waited longest, or return None."""
        rows = self._database.run(_CLAIM, {"location": self._location, "seconds": LEASE_SECONDS})
        if not rows:
            return None
        task_id, token, attempts, upload_id, storage_id, digest, size, good, suspect = rows[0]
        return Task(
            task_id,
            token,
            attempts,
            upload_id,
            storage_id,
            Digest.parse(digest),
            size,
            good,
            suspect,
        )

    def extend(self, tokens: list[UUID]) -> set[UUID]:
        """Extend the leases and return those that are still ours."""
        rows = self._database.run(_EXTEND, {"tokens": tokens, "seconds": LEASE_SECONDS})
        return {row[0] for row in rows}

    def finish(self, task: Task) -> None:
        """Write the placement and remove the task. Raises LeaseLost, having written nothing."""
        if not self._database.run(_FINISH, {"id": task.id, "token": task.lease_token}):
            raise LeaseLost(str(task.digest))

    def release(self, task: Task, error: str, upload_id: str | None = None) -> None:
        """Give a failed task back; it is tried again, later each time, and never given up."""
        wait = min(2 ** min(task.attempts, 10), _BACKOFF_MAXIMUM_SECONDS)
        self._database.run(
            _RELEASE,
            {
                "id": task.id,
                "token": task.lease_token,
                "error": error[:1000],
                "wait": wait,
                "upload_id": upload_id,
            },
        )

    def remember_upload(self, task: Task, upload_id: str | None) -> None:
        """Note the multipart upload that is under way, so that a successor can abort it."""
        values = {"id": task.id, "token": task.lease_token, "upload_id": upload_id}
        if not self._database.run(_REMEMBER_UPLOAD, values):
            raise LeaseLost(str(task.digest))

    def suspect(self, task: Task, location: str) -> None:
        """Note that the bytes at LOCATION are not the blob's, and order them anew."""
        self._database.run(_SUSPECT, {"storage_id": task.storage_id, "location": location})
