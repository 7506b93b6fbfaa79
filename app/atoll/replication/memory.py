"""Memory for bytes that are under way, with a limit.

A buffer is asked for before anything is read into it, so what waits is a copy, not the kernel.
"""

from __future__ import annotations

import threading


class Memory:
    """Buffers of at most LIMIT bytes in all, safe for any thread.

    Those of USUAL bytes are kept and used again: a fresh one costs the kernel's time for each page,
    and what the allocator keeps of it is not known.
    """

    def __init__(self, limit: int, usual: int) -> None:
        self._limit = limit
        self._usual = usual
        self._used = 0
        self._free: list[bytearray] = []
        self._changed = threading.Condition()

    def take(self, size: int, *, wait: bool) -> bytearray | None:
        """Return a buffer of SIZE bytes; without WAIT None where that is more than there is now.

        One that is larger than the limit is given to whoever is alone.
        """
        with self._changed:
            while self._used and self._used + size > self._limit:
                if not wait:
                    return None
                self._changed.wait()
            self._used += size
            if size == self._usual and self._free:
                return self._free.pop()
        return bytearray(size)

    def give(self, buffer: bytearray) -> None:
        """Take back what `take` returned."""
        with self._changed:
            self._used -= len(buffer)
            if len(buffer) == self._usual:
                self._free.append(buffer)
            self._changed.notify_all()
