"""The task table: one row for each blob that is to be copied to a location.

A row is written by the transaction that creates the need, claimed with a lease on the database's
clock, and goes in the transaction that writes the placement. Every write after the claim names the
lease's token; no row means that the lease was lost and somebody else may be at work.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from atoll.db.pool import Database
from atoll.names import Digest
from atoll.replication.required import required_in, urgent_in

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
       clock_timestamp(),
       array(SELECT l.name FROM placementdoubt d JOIN imagestoragelocation l
             ON l.id = d.location_id WHERE d.storage_id = s.id),
       EXISTS (SELECT FROM imagestorageplacement p WHERE p.storage_id = s.id
               AND p.location_id = c.location_id AND p.state = 'suspect')
FROM claimed c JOIN imagestorage s ON s.id = c.storage_id
"""

_EXTEND = """
UPDATE replicationtask
SET lease_expires = clock_timestamp() + make_interval(secs => %(seconds)s)
WHERE id = ANY(%(ids)s) AND lease_token = ANY(%(tokens)s) AND lease_expires > clock_timestamp()
RETURNING lease_token
"""

# To delete the task and to write the placement is one step, for the holder of the lease only, and
# not if somebody took the object away since the claim: who does that holds the digest's lock alone.
# Then it is copied again when the lease has run out.
_FINISH = """
SELECT pg_advisory_xact_lock_shared(hashtextextended(digest, 0))
FROM unnest(%(digests)s::text[]) AS digest ORDER BY hashtextextended(digest, 0);
WITH held AS (
    SELECT * FROM unnest(%(ids)s::bigint[], %(tokens)s::uuid[], %(digests)s::text[],
                         %(claimed)s::timestamptz[]) AS held (id, token, digest, claimed_at)
), done AS (
    DELETE FROM replicationtask t USING held
    WHERE t.id = held.id AND t.lease_token = held.token AND NOT EXISTS (
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

_RELEASE = """
UPDATE replicationtask
SET lease_token = NULL, lease_expires = NULL, last_error = %(error)s,
    available_at = clock_timestamp() + make_interval(secs => %(wait)s)
WHERE id = %(id)s AND lease_token = %(token)s
RETURNING id
"""

# What was not tried for long counts as no attempt.
_GIVE_BACK = """
UPDATE replicationtask
SET lease_token = NULL, lease_expires = NULL, attempts = attempts - 1
WHERE id = ANY(%(ids)s) AND lease_token = ANY(%(tokens)s)
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


class LeaseLost(Exception):
    """The lease ran out, and the task may be somebody else's now."""


class Tasks:
    """The task table, for the worker of one location."""

    def __init__(self, database: Database, location: str) -> None:
        self._database = database
        self._location = location

    def claim(self, *, large: bool = False, limit: int = 1) -> list[Task]:
        """Claim up to LIMIT tasks of large or of small blobs: those that waited longest."""
        parameters = {
            "location": self._location,
            "seconds": LEASE_SECONDS,
            "large": large,
            "limit": limit,
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
                *doubts,
            )
            for (
                task_id,
                token,
                attempts,
                upload_id,
                storage_id,
                digest,
                size,
                good,
                claimed_at,
                *doubts,
            ) in self._database.run(_CLAIM, parameters)
        ]

    def extend(self, tasks: list[Task]) -> set[UUID]:
        """Extend the leases and return those that are still ours."""
        rows = self._database.run(_EXTEND, {**_held(tasks), "seconds": LEASE_SECONDS})
        return {row[0] for row in rows}

    def finish(self, tasks: list[Task]) -> set[UUID]:
        """Write the placements and remove the tasks; return the leases for which that was done.

        Of the others, whose lease was lost or whose object was taken away again, nothing was
        written. One round trip.
        """
        values = {
            **_held(tasks),
            "location": self._location,
            "digests": [str(task.digest) for task in tasks],
            "claimed": [task.claimed_at for task in tasks],
        }
        return {row[0] for row in self._database.run(_FINISH, values)}

    def give_back(self, tasks: list[Task]) -> None:
        """Let others claim these at once."""
        self._database.run(_GIVE_BACK, _held(tasks))

    def release(self, task: Task, error: str) -> None:
        """Give a failed task back; it is tried again, later each time, and never given up."""
        wait = min(2 ** min(task.attempts, 10), _BACKOFF_MAXIMUM_SECONDS)
        self._database.run(
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
        if not self._database.run(_REMEMBER_UPLOAD, values):
            raise LeaseLost(str(task.digest))


def _held(tasks: list[Task]) -> dict[str, list[Any]]:
    """Return the parameters that name leases; tokens alone would be looked for in every task."""
    return {
        "ids": [task.id for task in tasks],
        "tokens": [task.lease_token for task in tasks],
    }
