"""Slow down whoever guesses passwords: after some failures, nothing is looked at for a while.

Counted in Redis for all processes and sites together, and in the process as well, so that it holds
without Redis. Counted by user name and address, so that a guesser elsewhere locks nobody out; and
by address alone, with more patience, against those who try one password with many names.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable

from atoll.db.shared_redis import SharedRedis

_FREE_BY_NAME, _FREE_BY_ADDRESS = 5, 50
# Seconds for which failures are remembered; how many names and addresses a process remembers.
_MEMORY_SECONDS = 300
_MEMORY_SIZE = 10_000


class TooManyFailures(Exception):
    """Credentials were wrong too often; `seconds` until the next try is looked at."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"too many failed logins; try again in {seconds} seconds")
        self.seconds = seconds


class Throttle:
    """Failures of late, by who failed from where."""

    def __init__(
        self, redis: SharedRedis, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._redis = redis
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._failures: dict[str, tuple[int, float]] = {}

    def check(self, username: str, address: str) -> None:
        """Raise TooManyFailures if USERNAME at ADDRESS has to wait."""
        limits = self._limits(username, address)
        shared = self._redis.get(*limits)
        for (key, free), counted in zip(limits.items(), shared, strict=True):
            failures = max(self._remembered(key), int(counted or 0))
            if failures >= free:
                raise TooManyFailures(_MEMORY_SECONDS)

    def failed(self, username: str, address: str) -> None:
        """Note that credentials were wrong."""
        now = self._monotonic()
        for key in self._limits(username, address):
            self._redis.increment(key, _MEMORY_SECONDS)
            with self._lock:
                if len(self._failures) >= _MEMORY_SIZE:
                    self._failures = {k: v for k, v in self._failures.items() if v[1] > now}
                if len(self._failures) >= _MEMORY_SIZE:
                    self._failures.pop(next(iter(self._failures)))
                count, until = self._failures.get(key, (0, now + _MEMORY_SECONDS))
                if until <= now:
                    count, until = 0, now + _MEMORY_SECONDS
                self._failures[key] = (count + 1, until)

    def _remembered(self, key: str) -> int:
        with self._lock:
            count, until = self._failures.get(key, (0, 0.0))
        return count if until > self._monotonic() else 0

    @staticmethod
    def _limits(username: str, address: str) -> dict[str, int]:
        # Hashed: a password typed into the wrong field does not lie about in Redis.
        name = hashlib.sha256(f"{username}\0{address}".encode()).hexdigest()
        place = hashlib.sha256(address.encode()).hexdigest()
        return {
            f"atoll:failures:{name}": _FREE_BY_NAME,
            f"atoll:failures:address:{place}": _FREE_BY_ADDRESS,
        }
