"""A pool of buffers for bytes in transit, with a limit.

A buffer is taken before anything is read into it, so copies wait here and not in the kernel.
"""

from __future__ import annotations

import threading
from collections import deque


class Memory:
    """Buffers of at most LIMIT bytes in total, given out in the order of the requests.

    Buffers of the USUAL size are reused: a new one costs the kernel time for each page. Safe for
    any thread.
    """

    def __init__(self, limit: int, usual: int) -> None:
        self._limit = limit
        self._usual = usual
        self._used = 0
        self._free: list[bytearray] = []
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    def take(self, size: int, *, wait: bool) -> bytearray | None:
        """Return a buffer of SIZE bytes; without WAIT, None if there is none now.

        A buffer larger than the limit is given out while no other one is in use. Requests behind it
        wait, too: otherwise a steady flow of small ones would keep it waiting indefinitely.
        """
        with self._changed:
            if not wait and (self._waiting or not self._fits(size)):
                return None
            request = object()
            self._waiting.append(request)
            try:
                self._changed.wait_for(lambda: self._waiting[0] is request and self._fits(size))
                self._used += size
            finally:
                self._waiting.remove(request)
                self._changed.notify_all()
            if size == self._usual and self._free:
                return self._free.pop()
            if size > self._limit:
                self._free.clear()
        return bytearray(size)

    def give(self, buffer: bytearray) -> None:
        """Return to the pool what `take` returned."""
        with self._changed:
            self._used -= len(buffer)
            if len(buffer) == self._usual:
                self._free.append(buffer)
            self._changed.notify_all()

    def _fits(self, size: int) -> bool:
        return self._used == 0 or self._used + size <= self._limit
