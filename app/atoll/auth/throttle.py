"""Slow down whoever guesses passwords: after some failures, nothing is looked at for a while.

Counted in Redis for all processes and sites together, and in the process as well, so that it holds
without Redis. Counted by user name and address, so that a guesser elsewhere locks nobody out; by
address alone, with more patience, against those who try one password with many names; and by user
name alone, with more patience still, against those who come from many addresses. That last one does
not apply where the user logged in from of late: nobody locks a user out of their own place.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable

from atoll.db.shared_redis import SharedRedis

_FREE_BY_NAME, _FREE_BY_ADDRESS, _FREE_BY_ACCOUNT = 5, 50, 100
# Seconds for which it is remembered where a user logged in from.
_PLACE_SECONDS = 30 * 86400
# Seconds for which failures are remembered; how many names and addresses a process remembers.
_MEMORY_SECONDS = 300
_MEMORY_SIZE = 10_000
_ACCOUNT = "atoll:failures:account:"


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
        self._places: dict[str, float] = {}

    def check(self, username: str, address: str) -> None:
        """Raise TooManyFailures if USERNAME at ADDRESS has to wait."""
        limits = self._limits(username, address)
        place = _place(username, address)
        *shared, known = self._redis.get(*limits, place)
        if known:
            self._remember_place(place)
        for (key, free), counted in zip(limits.items(), shared, strict=True):
            if key.startswith(_ACCOUNT) and self._knows(place):
                continue
            failures = max(self._remembered(key), int(counted or 0))
            if failures >= free:
                raise TooManyFailures(_MEMORY_SECONDS)

    def succeeded(self, username: str, address: str) -> None:
        """Note that USERNAME is at home at ADDRESS; tells Redis only what it did not know."""
        place = _place(username, address)
        if not self._knows(place):
            self._redis.increment(place, _PLACE_SECONDS)
            self._remember_place(place)

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

    def _knows(self, place: str) -> bool:
        with self._lock:
            return self._places.get(place, 0.0) > self._monotonic()

    def _remember_place(self, place: str) -> None:
        with self._lock:
            if len(self._places) >= _MEMORY_SIZE:
                self._places.pop(next(iter(self._places)))
            # Asked again each day, so that Redis does not forget who logs in every day.
            self._places[place] = self._monotonic() + _PLACE_SECONDS / 30

    @staticmethod
    def _limits(username: str, address: str) -> dict[str, int]:
        limits = {
            f"atoll:failures:{_hashed(username, address)}": _FREE_BY_NAME,
            f"atoll:failures:address:{_hashed(address)}": _FREE_BY_ADDRESS,
        }
        # `$app` and the like are nobody's names: all users share them.
        if not username.startswith("$"):
            limits[f"{_ACCOUNT}{_hashed(username)}"] = _FREE_BY_ACCOUNT
        return limits


def _place(username: str, address: str) -> str:
    return f"atoll:place:{_hashed(username, address)}"


def _hashed(*parts: str) -> str:
    """Return a hash: a password typed into the wrong field does not lie about in Redis."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
