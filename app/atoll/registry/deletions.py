"""The delete queue of each location: objects that are to go, claimed with a lease.

A store that is away keeps its own queue waiting and no other's. An object that somebody counts on
again stays: `Content.discard` decides that, under the lock on its digest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from prometheus_client import Counter, Gauge

from atoll.db.pool import Database
from atoll.names import Digest
from atoll.registry.content import LOCK_DIGEST, Content
from atoll.registry.garbage import FORGET_BLOBS
from atoll.storage.errors import StoreError

_CLAIMED = 20
# Seconds. Longer than a store may take for as many deletions, while it answers at all.
_LEASE_SECONDS = 60
_BACKOFF_MAXIMUM_SECONDS = 60

DELETED = Counter("atoll_garbage_deleted_objects", "Objects taken away", ["location"])
DELETED_BYTES = Counter("atoll_garbage_deleted_bytes", "Bytes of those objects", ["location"])
WAITING = Gauge(
    "atoll_garbage_queue",
    "Objects that are still to be taken away",
    ["location"],
    multiprocess_mode="mostrecent",
)

_CLAIM = """
WITH next AS (
    SELECT id FROM objectdeletion
    WHERE location_id = (SELECT id FROM imagestoragelocation
                         WHERE name = %(location)s AND state IN ('active', 'draining'))
      AND available_at <= clock_timestamp()
      AND (lease_expires IS NULL OR lease_expires <= clock_timestamp())
    ORDER BY available_at, id
    LIMIT %(claimed)s FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE objectdeletion d
    SET lease_token = gen_random_uuid(), attempts = attempts + 1,
        lease_expires = clock_timestamp() + make_interval(secs => %(seconds)s)
    FROM next WHERE d.id = next.id
    RETURNING d.*
)
SELECT c.id, c.lease_token, c.attempts, s.id, s.content_checksum, s.image_size
FROM claimed c JOIN imagestorage s ON s.id = c.storage_id
"""

# The last of a blob's objects takes its row along, unless somebody needs that again.
_FINISH = f"""
{LOCK_DIGEST}
DELETE FROM objectdeletion WHERE id = %(id)s AND lease_token = %(token)s;
{FORGET_BLOBS}
"""

_RELEASE = """
UPDATE objectdeletion
SET lease_token = NULL, lease_expires = NULL, last_error = %(error)s,
    available_at = clock_timestamp() + make_interval(secs => %(wait)s)
WHERE lease_token = ANY(%(tokens)s)
"""

_LENGTHS = """
SELECT l.name, count(d.id) FROM imagestoragelocation l
LEFT JOIN objectdeletion d ON d.location_id = l.id GROUP BY l.id
"""


@dataclass(frozen=True)
class Deletion:
    """An object that is to go: a blob's, of SIZE bytes."""

    id: int
    lease_token: UUID
    attempts: int
    storage_id: int
    digest: Digest
    size: int


class DeleteQueue:
    """The queue of LOCATION."""

    def __init__(self, database: Database, content: Content, location: str) -> None:
        self._database = database
        self._content = content
        self._location = location

    def turn(self) -> int:
        """Delete some objects; return how many. What a store refuses is tried again later."""
        claimed = self.claim()
        for number, deletion in enumerate(claimed):
            try:
                self.carry_out(deletion)
            except StoreError as error:
                self._release(claimed[number:], str(error))
                return number
        return len(claimed)

    def claim(self) -> list[Deletion]:
        """Claim the deletions that have waited longest."""
        rows = self._database.run(
            _CLAIM,
            {"location": self._location, "claimed": _CLAIMED, "seconds": _LEASE_SECONDS},
        )
        return [
            Deletion(id_, token, attempts, storage_id, Digest.parse(digest), size)
            for id_, token, attempts, storage_id, digest, size in rows
        ]

    def carry_out(self, deletion: Deletion) -> None:
        """Delete one object unless somebody counts on it. Raises StoreError."""
        if self._content.discard(deletion.digest, self._location, None):
            DELETED.labels(self._location).inc()
            DELETED_BYTES.labels(self._location).inc(deletion.size)
        self._database.run(
            _FINISH,
            {
                "id": deletion.id,
                "token": deletion.lease_token,
                "digest": str(deletion.digest),
                "ids": [deletion.storage_id],
            },
        )

    def _release(self, deletions: list[Deletion], error: str) -> None:
        wait = min(2 ** min(deletions[0].attempts, 10), _BACKOFF_MAXIMUM_SECONDS)
        tokens = [deletion.lease_token for deletion in deletions]
        self._database.run(_RELEASE, {"tokens": tokens, "error": error[:1000], "wait": wait})


def queue_lengths(database: Database) -> Mapping[str, int]:
    """Return for each location how many objects are still to be taken away."""
    return dict(database.read(_LENGTHS))


def export_queue_lengths(database: Database) -> None:
    """Set the metric to the lengths as they are now."""
    for location, length in queue_lengths(database).items():
        WAITING.labels(location).set(length)
