"""The delete queue of each location: objects to delete, claimed with leases.

An unavailable store delays only its own queue, and an object that cannot be deleted only itself. An
object that something refers to again is kept (`ContentDeletions.discard`).

Each location has a periodic thread (`server/maintenance.py`) instead of a share of `QueueRunner`:
there are few locations, so one thread for each already keeps a hanging store from delaying others.
The thread also paces batches that delete nothing and reports the location's last success, which a
shared runner would have to repeat for each location, with a query of every other queue per batch.
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
from atoll.db.leased_queue import Backoff, LeasedQueue, LeasedTable, unleased
from atoll.db.pool import Database
from atoll.names import Digest
from atoll.placement.content_deletions import ContentDeletions
from atoll.placement.locks import LOCK_DIGEST
from atoll.placement.upkeep.garbage import DELETE_BLOBS
from atoll.storage.errors import StoreError

log = logging.getLogger(__name__)

# Deletions that one statement claims.
_CLAIMED = 20
# No deletion starts in the second half of a lease.
_LEASE_SECONDS = 60
_BACKOFF = Backoff(first=2.0, maximum=3600.0)

_TABLE = LeasedTable("objectdeletion")

DELETED = Counter("atoll_garbage_deleted_objects", "Deleted objects", ["location"])
DELETED_BYTES = Counter("atoll_garbage_deleted_bytes", "Bytes of deleted objects", ["location"])
WAITING = Gauge(
    "atoll_garbage_queue",
    "Objects waiting for deletion",
    ["location"],
    multiprocess_mode="mostrecent",
)

_CLAIM = f"""
WITH next AS (
    SELECT d.id FROM objectdeletion d
    WHERE d.location_id = (SELECT id FROM imagestoragelocation
                           WHERE name = %(location)s AND state IN ('active', 'draining'))
      AND d.available_at <= statement_timestamp() AND {unleased("d")}
    ORDER BY d.available_at, d.id
    LIMIT %(claimed)s FOR UPDATE SKIP LOCKED
), {_TABLE.claimed}
SELECT c.id, c.lease_token, c.attempts, s.id, s.content_checksum, s.image_size
FROM claimed c JOIN imagestorage s ON s.id = c.storage_id
"""

# The blob's row is deleted together with its last object, unless it is needed again.
_FINISH = f"""
{LOCK_DIGEST}
{_TABLE.delete};
{DELETE_BLOBS}
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
    """A claimed deletion of a blob's object; `size` is in bytes."""

    id: int
    lease_token: UUID
    attempts: int
    storage_id: int
    digest: Digest
    size: int


class DeleteQueue:
    """The delete queue of one location."""

    def __init__(
        self,
        database: Database,
        content: ContentDeletions,
        location: str,
        *,
        available: Callable[[], bool] = lambda: True,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make the queue.

        Args:
            database: where the queue is.
            content: deletes the objects.
            location: the location.
            available: returns whether the location's store is available.
            monotonic: a clock in seconds.
        """
        self._queue = LeasedQueue(database, _TABLE, lease_seconds=_LEASE_SECONDS, backoff=_BACKOFF)
        self._content = content
        self._location = location
        self._available = available
        self._monotonic = monotonic

    def turn(self) -> int:
        """Delete a batch of objects.

        An object that cannot be deleted is retried later. The rest of the batch is given back when
        the store becomes unavailable or is too slow for the lease.

        Returns:
            The number of objects that were deleted or are in use again.
        """
        deadline = self._monotonic() + _LEASE_SECONDS / 2
        claimed = self.claim()
        done = 0
        for number, deletion in enumerate(claimed):
            if self._monotonic() > deadline or not self._available():
                self._queue.give_back(claimed[number:])
                break
            try:
                self.carry_out(deletion)
                done += 1
            except StoreError as error:
                self._release(deletion, str(error))
        return done

    def claim(self) -> list[Deletion]:
        """Claim the deletions that have waited longest."""
        rows = self._queue.claim(_CLAIM, {"location": self._location, "claimed": _CLAIMED})
        return [
            Deletion(id_, token, attempts, storage_id, Digest.parse(digest), size)
            for id_, token, attempts, storage_id, digest, size in rows
        ]

    def carry_out(self, deletion: Deletion) -> None:
        """Delete one object unless something refers to it.

        Raises:
            StoreError: the object could not be deleted, or the outcome is unknown.
        """
        if self._content.discard(deletion.digest, self._location, None):
            DELETED.labels(self._location).inc()
            DELETED_BYTES.labels(self._location).inc(deletion.size)
        values = {"digest": str(deletion.digest), "ids": [deletion.storage_id]}
        self._queue.finish(deletion, _FINISH, values)

    def _release(self, deletion: Deletion, error: str) -> None:
        fields = {"digest": str(deletion.digest), "location": self._location, "cause": error}
        log.warning("object not deleted", extra=fields)
        self._queue.release(deletion, error)


def queue_lengths(database: Database) -> Mapping[str, int]:
    """Return the number of objects to be deleted at each location.

    Numbers up to `estimates.EXACT_MAXIMUM` are exact; greater ones are estimated from a sample.
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
    """Update the metric of queue lengths."""
    for location, length in queue_lengths(database).items():
        WAITING.labels(location).set(length)
