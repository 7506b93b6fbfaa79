"""Synchronous pushes: wait until blobs are at several locations, if a policy requires it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from atoll.db.pool import Database
from atoll.placement.rules import excluded_in
from atoll.registry.errors import NotCopiedYet

# Seconds between two checks. The number of requests of a process that may wait, so that its other
# threads remain available.
_PAUSE = 0.2
_WAITING_MAXIMUM = 4

# Counts copies at allowed locations that are not draining. The images of an index are included,
# because a policy may have been set after they were pushed.
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


class Copies:
    """Waits for the copies that a push requires."""

    def __init__(
        self, database: Database, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._monotonic = monotonic
        self._slots = threading.BoundedSemaphore(_WAITING_MAXIMUM)

    def wait(
        self, repository_id: int, blobs: list[str], children: list[str], copies: int, seconds: int
    ) -> None:
        """Wait until all blobs of a manifest are at a number of locations.

        Args:
            repository_id: the repository.
            blobs: digests of the manifest's blobs.
            children: digests of the manifests that it lists.
            copies: the number of locations.
            seconds: the most seconds to wait.

        Raises:
            NotCopiedYet: copies are missing after that time, or immediately if too many requests
                are waiting.
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
            self._check(values, copies, deadline)
            return
        try:
            while not self._check(values, copies, deadline):
                time.sleep(_PAUSE)
        finally:
            self._slots.release()

    def _check(self, values: dict[str, object], copies: int, deadline: float) -> bool:
        """Return whether there are enough copies; raise NotCopiedYet after the deadline."""
        behind, count = self._database.read(_BEHIND, values)[0]
        if behind and self._monotonic() >= deadline:
            raise NotCopiedYet(copies, behind, count)
        return not behind
