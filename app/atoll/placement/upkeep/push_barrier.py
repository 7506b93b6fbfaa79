"""Pushes that wait until their blobs are at several locations, where a policy wants that."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from atoll.db.pool import Database
from atoll.placement.rules import excluded_in
from atoll.registry.errors import NotCopiedYet

# Seconds between two looks, and how many requests of a process may wait at once: the others of its
# threads go on serving.
_PAUSE = 0.2
_WAITING_MAXIMUM = 4

# Copies where they may be and stay. A list's images were waited for when they were pushed; a policy
# that came since then holds for them all the same.
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
    """Waits for copies of what is being pushed."""

    def __init__(
        self, database: Database, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._monotonic = monotonic
        self._places = threading.BoundedSemaphore(_WAITING_MAXIMUM)

    def wait(
        self, repository_id: int, blobs: list[str], children: list[str], copies: int, seconds: int
    ) -> None:
        """Return when all BLOBS, and those of the images CHILDREN, are at so many locations.

        Raises NotCopiedYet after so many SECONDS; at once where too many requests wait already.
        """
        values = {
            "repository_id": repository_id,
            "blobs": blobs,
            "children": children,
            "copies": copies,
        }
        deadline = self._monotonic() + seconds
        if not self._places.acquire(blocking=False):
            deadline = self._monotonic()
            self._look(values, copies, deadline)
            return
        try:
            while not self._look(values, copies, deadline):
                time.sleep(_PAUSE)
        finally:
            self._places.release()

    def _look(self, values: dict[str, object], copies: int, deadline: float) -> bool:
        """Tell whether there are copies enough. Raises NotCopiedYet at the DEADLINE."""
        behind, count = self._database.read(_BEHIND, values)[0]
        if behind and self._monotonic() >= deadline:
            raise NotCopiedYet(copies, behind, count)
        return not behind
