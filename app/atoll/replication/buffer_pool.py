"""A bounded pool of buffers for bytes in transit.

A buffer is acquired before bytes are requested, so copies wait for memory before they read.
"""

from __future__ import annotations

import threading
from collections import deque


class BufferPool:
    """Buffers of a limited total size, provided in the order of requests. Thread-safe.

    Args:
        limit: bytes of all buffers.
        usual: bytes of buffers that are reused, because a new one costs the kernel time for each
            page.
    """

    def __init__(self, limit: int, usual: int) -> None:
        self._limit = limit
        self._usual = usual
        self._used = 0
        self._free: list[bytearray] = []
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    def acquire(self, size: int, *, wait: bool) -> bytearray | None:
        """Return a buffer.

        A buffer larger than the limit is provided while no other one is in use. Later requests wait
        for it, because a steady flow of small requests would otherwise delay it indefinitely.

        Args:
            size: bytes.
            wait: whether to wait for memory; otherwise the result may be None.
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

    def release(self, buffer: bytearray) -> None:
        """Return a buffer to the pool."""
        with self._changed:
            self._used -= len(buffer)
            if len(buffer) == self._usual:
                self._free.append(buffer)
            self._changed.notify_all()

    def _fits(self, size: int) -> bool:
        return self._used == 0 or self._used + size <= self._limit
