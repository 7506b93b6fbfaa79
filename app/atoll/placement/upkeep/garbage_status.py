"""Report what garbage collection has still to do, at a cost that does not depend on its amount."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from atoll.db import estimates
from atoll.db.estimates import BY_INDEX, pages_of
from atoll.db.pool import Database
from atoll.placement.delete_queue import queue_lengths

# Count manifests that can still be restored, and blobs that have a tombstone: each in the order of
# an index, which begins with those that are due first.
_WAITING = f"""
SELECT manifests.number, manifests.oldest, blobs.number, blobs.bytes, blobs.oldest,
       {pages_of("manifest")}, {pages_of("imagestorage")}
FROM (SELECT count(*) AS number, min(deleted_at) AS oldest
      FROM (SELECT deleted_at FROM manifest WHERE deleted_at IS NOT NULL
            ORDER BY deleted_at LIMIT %(limit)s) AS deleted) AS manifests,
     (SELECT count(*) AS number, coalesce(sum(image_size), 0)::bigint AS bytes,
             min(tombstone_at) AS oldest
      FROM (SELECT tombstone_at, image_size FROM imagestorage
            WHERE tombstone_at < 'infinity' ORDER BY tombstone_at LIMIT %(limit)s) AS marked)
     AS blobs
"""

_SAMPLED_MANIFESTS = """
SELECT count(*) FROM manifest TABLESAMPLE SYSTEM (%(percent)s) WHERE deleted_at IS NOT NULL
"""

_SAMPLED_BLOBS = """
SELECT count(*), coalesce(sum(image_size), 0)::bigint
FROM imagestorage TABLESAMPLE SYSTEM (%(percent)s) WHERE tombstone_at < 'infinity'
"""

# Those that are due first are counted; a failed deletion is due again after a pause.
_QUEUES = """
SELECT l.name, l.state, queue.objects, queue.due, queue.oldest, queue.failing, queue.error
FROM imagestoragelocation l CROSS JOIN LATERAL (
    SELECT count(*) AS objects, count(*) FILTER (WHERE available_at <= clock_timestamp()) AS due,
           min(created_at) AS oldest, count(last_error) AS failing,
           (array_agg(last_error) FILTER (WHERE last_error IS NOT NULL))[1] AS error
    FROM (SELECT available_at, created_at, last_error FROM objectdeletion d
          WHERE d.location_id = l.id ORDER BY d.available_at, d.id LIMIT %(limit)s) AS first)
    AS queue
ORDER BY l.id
"""


@dataclass(frozen=True)
class Waiting:
    """Objects that wait; `oldest` is when the first one began to, None if there is none.

    Attributes:
        number: How many; beyond `estimates.EXACT_MAXIMUM` from a sample.
        bytes: Their size.
        oldest: When the one that has waited longest was deleted or marked.
    """

    number: int
    bytes: int
    oldest: datetime | None


@dataclass(frozen=True)
class DeletionBacklog:
    """The delete queue of a location.

    Attributes:
        location: The location.
        state: Its state.
        objects: Objects to delete; beyond `estimates.EXACT_MAXIMUM` from a sample.
        due: Objects that can be deleted now, at most `estimates.EXACT_MAXIMUM`.
        oldest: When the first of them was queued; None without objects.
        failing: Objects whose last attempt failed, at most `estimates.EXACT_MAXIMUM`.
        last_error: The reason of one of them.
    """

    location: str
    state: str
    objects: int
    due: int
    oldest: datetime | None
    failing: int
    last_error: str | None


class GarbageStatus:
    """Reports the stages of garbage collection."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def waiting(self) -> tuple[Waiting, Waiting]:
        """Return the deleted manifests that can be restored, and the unused blobs with a tombstone.

        Raises:
            DatabaseUnavailable: The database cannot be reached.
        """
        row = self._database.read(BY_INDEX + _WAITING, {"limit": estimates.EXACT_MAXIMUM})[0]
        manifests, deleted, blobs, size, marked, manifest_pages, blob_pages = row
        if manifests >= estimates.EXACT_MAXIMUM:
            (sampled,) = self._sample(_SAMPLED_MANIFESTS, manifest_pages)
            manifests = max(manifests, sampled)
        if blobs >= estimates.EXACT_MAXIMUM:
            sampled, bytes_ = self._sample(_SAMPLED_BLOBS, blob_pages)
            blobs, size = max(blobs, sampled), max(size, bytes_)
        return Waiting(manifests, 0, deleted), Waiting(blobs, size, marked)

    def queues(self) -> list[DeletionBacklog]:
        """Return the delete queue of each location.

        Raises:
            DatabaseUnavailable: The database cannot be reached.
        """
        rows = self._database.read(BY_INDEX + _QUEUES, {"limit": estimates.EXACT_MAXIMUM})
        found = [DeletionBacklog(*row) for row in rows]
        if all(one.objects < estimates.EXACT_MAXIMUM for one in found):
            return found
        lengths = queue_lengths(self._database)
        return [replace(one, objects=lengths.get(one.location, one.objects)) for one in found]

    def _sample(self, query: str, pages: int) -> Sequence[Any]:
        """Return the sums of a sample, scaled to the whole table."""
        percent = estimates.sample_percent(pages)
        row = self._database.read(query, {"percent": percent})[0]
        return [round(value * 100 / percent) for value in row]
