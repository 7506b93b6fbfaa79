"""How fast, and when, a worker may write to its location: REPLICATION_LIMITS of the bundle."""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Callable

from atoll.config.replication_limits import ReplicationLimit

# Bytes that are taken at a time: a small blob waits behind so much of each large one at most.
_PIECE = 2**20


class Pace:
    """The limit of one location, kept by all copies of a worker together; safe for any thread.

    Bytes are a bucket of tokens: who takes them is told how long to wait until they are there, and
    what was not used for a second is lost.
    """

    def __init__(
        self,
        limit: ReplicationLimit | None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        self._bandwidth = limit.bandwidth if limit else None
        self._hours = limit.hours if limit else None
        self._monotonic = monotonic
        self._now = now
        self._paid_until = monotonic()
        self._lock = threading.Lock()

    @property
    def open(self) -> bool:
        """Tell whether it is an hour to copy at."""
        return self._hours is None or self._hours.contain(self._now())

    def take(self, size: int, wait: Callable[[float], None]) -> None:
        """Take SIZE bytes; WAIT is called with the seconds that are to pass, and may raise."""
        if self._bandwidth is None:
            return
        while size > 0:
            piece = min(size, _PIECE)
            if (seconds := self._debt(piece / self._bandwidth)) > 0:
                wait(seconds)
            size -= piece

    def _debt(self, cost: float) -> float:
        """Pay COST seconds of the bandwidth, and return in how many seconds that is allowed."""
        with self._lock:
            now = self._monotonic()
            self._paid_until = max(self._paid_until, now - 1) + cost
            return self._paid_until - now
