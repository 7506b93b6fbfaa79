"""A limit on concurrently streamed responses, per process.

A response to a slow client occupies a thread. The same threads redirect all other pulls, so only
some of them may stream, and a single client may use only a part of these.
"""

from __future__ import annotations

import threading
import weakref
from collections import Counter

from atoll.web.errors import TooManyDownloads

# Half of the threads that serve downloads, and half of these.
SLOTS = 16
SLOTS_OF_CLIENT = 8


class DownloadSlots:
    """The slots of one process.

    Args:
        total: how many responses may be streamed at the same time.
        of_client: how many of them may go to the same client address.
    """

    def __init__(self, total: int = SLOTS, of_client: int = SLOTS_OF_CLIENT) -> None:
        self._total = total
        self._of_client = of_client
        self._lock = threading.Lock()
        self._used: Counter[str] = Counter()

    def take(self, client: str) -> Slot:
        """Return a slot for a client address. Raises TooManyDownloads if none is free."""
        with self._lock:
            if self._used.total() >= self._total or self._used[client] >= self._of_client:
                raise TooManyDownloads
            self._used[client] += 1
        return Slot(self, client)

    def give_back(self, client: str) -> None:
        """Release one slot of a client."""
        with self._lock:
            self._used[client] -= 1
            if not self._used[client]:
                del self._used[client]


class Slot:
    """A slot in use. It is released once, at the latest when nothing refers to it any more."""

    def __init__(self, slots: DownloadSlots, client: str) -> None:
        self.release = weakref.finalize(self, slots.give_back, client)
