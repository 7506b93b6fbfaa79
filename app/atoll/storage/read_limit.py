"""Read no faster than told: bytes per second, for all threads together."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class ReadLimit:
    """A limit of BYTES_PER_SECOND; None is none."""

    def __init__(
        self,
        bytes_per_second: int | None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate = bytes_per_second
        self._monotonic = monotonic
        self._sleep = sleep
        self._lock = threading.Lock()
        self._free_at = 0.0

    def spend(self, count: int) -> None:
        """Note that COUNT bytes were read, and wait until the next may be."""
        if self._rate is None:
            return
        with self._lock:
            now = self._monotonic()
            self._free_at = max(now, self._free_at) + count / self._rate
            pause = self._free_at - now
        self._sleep(pause)
