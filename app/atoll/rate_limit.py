"""A limit on bytes per second, shared by all threads that use it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

# Bytes that are taken at a time, so that threads share the rate in small turns: a small blob waits
# for at most this much of each large one.
_PIECE = 2**20


class RateLimiter:
    """A token bucket for bytes; safe for any thread.

    Args:
        bytes_per_second: the rate, None without a limit.
        burst_seconds: how much of the unused rate of the past may be used at once.
        monotonic: returns seconds.
        sleep: waits for the given seconds; `take` can replace it.
    """

    def __init__(
        self,
        bytes_per_second: int | None,
        *,
        burst_seconds: float = 0.0,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate = bytes_per_second
        self._burst_seconds = burst_seconds
        self._monotonic = monotonic
        self._sleep = sleep
        self._lock = threading.Lock()
        # When everything that was taken is paid for.
        self._free_at = monotonic()

    def take(self, size: int, wait: Callable[[float], None] | None = None) -> None:
        """Take `size` bytes, and wait until the rate allows them.

        Args:
            size: a number of bytes.
            wait: called with the seconds to wait, instead of sleeping; may raise.
        """
        if self._rate is None:
            return
        wait = wait or self._sleep
        while size > 0:
            piece = min(size, _PIECE)
            if (seconds := self._reserve(piece / self._rate)) > 0:
                wait(seconds)
            size -= piece

    def _reserve(self, cost: float) -> float:
        """Reserve `cost` seconds of the rate, and return the seconds until they have passed."""
        with self._lock:
            now = self._monotonic()
            self._free_at = max(self._free_at, now - self._burst_seconds) + cost
            return self._free_at - now
