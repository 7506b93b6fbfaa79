"""The delete queue of each location: objects to delete, claimed with a lease.

An unavailable store delays its own queue only, and an object that cannot be deleted only itself. An
object that somebody counts on again stays: `ContentDeletions.discard` decides that.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from uuid import UUID

from prometheus_client import Counter, Gauge

from atoll.db import estimates
from atoll.db.estimates import BY_INDEX, pages_of
from atoll.db.pool import Database
from atoll.names import Digest
from atoll.placement.content_deletions import ContentDeletions
from atoll.placement.locks import LOCK_DIGEST
from atoll.placement.upkeep.garbage import FORGET_BLOBS
from atoll.storage.errors import StoreError

log = logging.getLogger(__name__)

_CLAIMED = 20
# Seconds. No deletion begins in the second half of a lease.
_LEASE_SECONDS = 60
# Seconds after which an object that could not be deleted is tried again, at most.
_BACKOFF_MAXIMUM_SECONDS = 3600

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
WHERE id = %(id)s AND lease_token = %(token)s
"""

# What was not tried counts as no attempt.
_GIVE_BACK = """
UPDATE objectdeletion
SET lease_token = NULL, lease_expires = NULL, attempts = attempts - 1
WHERE id IN (SELECT id FROM objectdeletion WHERE id = ANY(%(ids)s) ORDER BY id FOR UPDATE)
  AND lease_token = ANY(%(tokens)s)
"""

_LENGTHS = f"""
SELECT l.name, (SELECT count(*) FROM (SELECT FROM objectdeletion d WHERE d.location_id = l.id
                                      ORDER BY d.available_at, d.id LIMIT %(limit)s) d),
       {pages_of("objectdeletion")}
FROM imagestoragelocation l
"""

_ESTIMATE = """
SELECT l.name, count(*) FROM objectdeletion d TABLESAMPLE SYSTEM (%(percent)s)
JOIN imagestoragelocation l ON l.id = d.location_id GROUP BY l.name
"""


@dataclass(frozen=True)
class Deletion:
    """The object of a blob of SIZE bytes that is to be deleted."""

    id: int
    lease_token: UUID
    attempts: int
    storage_id: int
    digest: Digest
    size: int


class DeleteQueue:
    """The queue of LOCATION. AVAILABLE returns whether its store is."""

    def __init__(
        self,
        database: Database,
        content: ContentDeletions,
        location: str,
        *,
        available: Callable[[], bool] = lambda: True,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._content = content
        self._location = location
        self._available = available
        self._monotonic = monotonic

    def turn(self) -> int:
        """Delete some objects, and return how many were deleted or are in use again.

        One that cannot be deleted is tried again later. The others are given back when the store
        becomes unavailable, or when it is too slow for the lease.
        """
        deadline = self._monotonic() + _LEASE_SECONDS / 2
        claimed = self.claim()
        done = 0
        for number, deletion in enumerate(claimed):
            if self._monotonic() > deadline or not self._available():
                self._give_back(claimed[number:])
                break
            try:
                self.carry_out(deletion)
                done += 1
            except StoreError as error:
                self._release(deletion, str(error))
        return done

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

    def _release(self, deletion: Deletion, error: str) -> None:
        fields = {"digest": str(deletion.digest), "location": self._location, "cause": error}
        log.warning("object not deleted yet", extra=fields)
        values = {
            "id": deletion.id,
            "token": deletion.lease_token,
            "error": error[:1000],
            "wait": min(2 ** min(deletion.attempts, 20), _BACKOFF_MAXIMUM_SECONDS),
        }
        self._database.run(_RELEASE, values)

    def _give_back(self, deletions: list[Deletion]) -> None:
        values = {
            "ids": [deletion.id for deletion in deletions],
            "tokens": [deletion.lease_token for deletion in deletions],
        }
        self._database.run(_GIVE_BACK, values)


def queue_lengths(database: Database) -> Mapping[str, int]:
    """Return the number of objects still to be deleted, by location.

    Exact while it is less than `estimates.EXACT_MAXIMUM`, beyond that estimated from a sample.
    """
    rows = database.read(BY_INDEX + _LENGTHS, {"limit": estimates.EXACT_MAXIMUM})
    lengths = {name: int(length) for name, length, _pages in rows}
    if any(length >= estimates.EXACT_MAXIMUM for length in lengths.values()):
        percent = estimates.sample_percent(rows[0][-1])
        for name, sampled in database.read(_ESTIMATE, {"percent": percent}):
            if lengths[name] >= estimates.EXACT_MAXIMUM:
                lengths[name] = max(lengths[name], int(sampled * 100 / percent))
    return lengths


def export_queue_lengths(database: Database) -> None:
    """Set the metric to the lengths as they are now."""
    for location, length in queue_lengths(database).items():
        WAITING.labels(location).set(length)
