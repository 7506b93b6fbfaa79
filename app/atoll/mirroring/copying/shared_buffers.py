"""Buffers for blobs that are copied, shared by all upstreams."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from atoll.mirroring.copying.copy_control import CopyControl
from atoll.replication.buffer_pool import BufferPool

# Seconds between two attempts to acquire a buffer.
_POLL_SECONDS = 0.05


class SharedBuffers:
    """Buffers of a limited total size, of which no upstream occupies all. Thread-safe.

    A slow upstream keeps its buffers for a long time. They are acquired by copies that hold a slot
    of their upstream, so no copy keeps a buffer while it waits for one.

    Args:
        limit: The bytes of all buffers.
        usual: The bytes of buffers that are reused.
        reserve: The bytes that one upstream leaves for the others.
    """

    def __init__(self, limit: int, usual: int, *, reserve: int) -> None:
        self._pool = BufferPool(limit, usual)
        self._maximum = limit - reserve
        self._lock = threading.Lock()
        self._used: Counter[str] = Counter()

    @contextmanager
    def buffer(self, upstream: str, size: int, control: CopyControl) -> Iterator[bytearray]:
        """Provide a buffer; see `acquire`."""
        buffer = self.acquire(upstream, size, control)
        try:
            yield buffer
        finally:
            self.release(upstream, buffer)

    def acquire(self, upstream: str, size: int, control: CopyControl) -> bytearray:
        """Return a buffer; waits until there is one, unless the copy is stopped.

        A buffer larger than the share of an upstream is provided while it has no other one.

        Args:
            upstream: The host of the upstream.
            size: The bytes.
            control: Controls the copy.
        """
        while (buffer := self._try(upstream, size)) is None:
            control.wait(_POLL_SECONDS)
        return buffer

    def release(self, upstream: str, buffer: bytearray) -> None:
        """Return a buffer."""
        with self._lock:
            self._used[upstream] -= len(buffer)
            if not self._used[upstream]:
                del self._used[upstream]
            self._pool.release(buffer)

    def _try(self, upstream: str, size: int) -> bytearray | None:
        with self._lock:
            if self._used[upstream] and self._used[upstream] + size > self._maximum:
                return None
            buffer = self._pool.acquire(size, wait=False)
            if buffer is not None:
                self._used[upstream] += size
            return buffer
