"""Delay a manifest push until its blobs have the copies that a policy asks for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from atoll.db.pool import Database
from atoll.placement.rules import excluded_in

# Seconds between two polls.
_POLL_INTERVAL = 0.2
# Requests of one process that may wait at the same time. The other threads keep serving.
_WAITING_MAXIMUM = 4

# Count copies where the repository may have them and that are not about to be removed. The blobs
# of an index's images were waited for when those were pushed, but a newer policy applies to them.
_BEHIND = f"""
SELECT count(*) FILTER (WHERE copies < %(copies)s), count(*) FROM (
    SELECT (SELECT count(*) FROM imagestorageplacement p
            JOIN imagestoragelocation l ON l.id = p.location_id
            WHERE p.storage_id = s.id AND p.state = 'good' AND l.state IN ('active', 'read-only')
              AND (l.name = ANY({excluded_in("%(repository_id)s")})) IS NOT TRUE) AS copies
    FROM imagestorage s
    WHERE s.content_checksum = ANY(%(blobs)s) OR s.id IN (
        SELECT mb.blob_id FROM manifest m JOIN manifestblob mb ON mb.manifest_id = m.id
        WHERE m.repository_id = %(repository_id)s AND m.digest = ANY(%(children)s))) AS found
"""


class NotCopiedYet(Exception):
    """The blobs of a push do not have the required number of copies in time.

    Attributes:
        public: the message, which names no host and may be sent to clients.
    """

    def __init__(self, copies: int, behind: int, count: int) -> None:
        self.public = (
            f"{behind} of {count} blobs are not at {copies} locations yet, as this repository's"
            " policy wants; they are being copied, nothing is lost: push again"
        )
        super().__init__(self.public)


class PushBarrier:
    """Wait for the copies of the blobs of a push."""

    def __init__(
        self, database: Database, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._monotonic = monotonic
        self._slots = threading.BoundedSemaphore(_WAITING_MAXIMUM)

    def wait(
        self, repository_id: int, blobs: list[str], children: list[str], copies: int, seconds: int
    ) -> None:
        """Return once all blobs of a push have enough copies.

        Args:
            repository_id: the repository that is pushed to.
            blobs: digests of the blobs that the manifest names.
            children: digests of the manifests that it lists; their blobs are waited for, too.
            copies: the number of locations that each blob has to be at.
            seconds: the longest time to wait. Without a free slot nothing is waited for.

        Raises:
            NotCopiedYet: blobs were missing at the end of that time.
        """
        values = {
            "repository_id": repository_id,
            "blobs": blobs,
            "children": children,
            "copies": copies,
        }
        deadline = self._monotonic() + seconds
        if not self._slots.acquire(blocking=False):
            deadline = self._monotonic()
            self._has_copies(values, copies, deadline)
            return
        try:
            while not self._has_copies(values, copies, deadline):
                time.sleep(_POLL_INTERVAL)
        finally:
            self._slots.release()

    def _has_copies(self, values: dict[str, object], copies: int, deadline: float) -> bool:
        """Return whether there are enough copies; raise NotCopiedYet after the deadline."""
        behind, count = self._database.read(_BEHIND, values)[0]
        if behind and self._monotonic() >= deadline:
            raise NotCopiedYet(copies, behind, count)
        return not behind
