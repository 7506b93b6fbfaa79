"""Throttling of failed logins and of registrations.

Failures are counted in Redis for all processes and sites together. Each process counts its own as
well, so that the limits hold while Redis is unavailable.

Passwords are throttled before they are verified:

- by user name and address, so that guesses from elsewhere do not lock out the user;
- by address, with a higher limit, against one password tried with many names;
- by user name, with the highest limit, against guesses from many addresses.

The last two limits do not apply at an address from which the user logged in recently.

Tokens are random and cannot be guessed, so a valid token is always accepted. Invalid ones are
counted by address after the lookup.
"""

from __future__ import annotations

import hashlib
import ipaddress
import threading
import time
from collections.abc import Callable

from atoll.db.shared_redis import SharedRedis

# Failures, or registrations, that are accepted within _MEMORY_SECONDS.
_FREE_BY_NAME, _FREE_BY_ADDRESS, _FREE_BY_ACCOUNT = 5, 50, 100
_FREE_TOKENS, _FREE_REGISTRATIONS = 50, 20
# Seconds for which the address of a successful login is remembered.
_PLACE_SECONDS = 30 * 86400
# Seconds for which failures are remembered, and the number of counters that a process keeps.
_MEMORY_SECONDS = 300
_MEMORY_SIZE = 10_000
_IPV6_PREFIX = 64
_PREFIX = "atoll:failures:"
_ADDRESS, _ACCOUNT = f"{_PREFIX}address:", f"{_PREFIX}account:"
_TOKEN, _REGISTRATION = f"{_PREFIX}token:", f"{_PREFIX}registration:"


class Throttled(Exception):
    """The request was throttled; clients may retry after `seconds`."""

    def __init__(self, text: str, seconds: int) -> None:
        super().__init__(f"{text}; try again in {seconds} seconds")
        self.seconds = seconds


class TooManyFailures(Throttled):
    """There were too many failed logins."""

    def __init__(self, seconds: int = _MEMORY_SECONDS) -> None:
        super().__init__("too many failed logins", seconds)


class TooManyRegistrations(Throttled):
    """Too many accounts were requested from one address."""

    def __init__(self, seconds: int = _MEMORY_SECONDS) -> None:
        super().__init__("too many accounts were requested from this address", seconds)


class Throttle:
    """Counts failures by user name and client address."""

    def __init__(
        self, redis: SharedRedis, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._redis = redis
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._failures: dict[str, tuple[int, float]] = {}
        self._places: dict[str, float] = {}

    def check(self, username: str, address: str) -> None:
        """Raise TooManyFailures if the failures of a user or an address exceed a limit."""
        limits = self._limits(username, address)
        place = _place(username, address)
        *shared, known = self._redis.get(*limits, place)
        if known:
            self._remember_place(place)
        self._refuse(limits, shared, place)

    def check_again(self, username: str, address: str) -> None:
        """Raise TooManyFailures by the failures that this process counted.

        Concurrent guesses all pass `check`, so this is called right before each is hashed.
        """
        limits = self._limits(username, address)
        self._refuse(limits, [None] * len(limits), _place(username, address))

    def _refuse(self, limits: dict[str, int], shared: list[bytes | None], place: str) -> None:
        for (key, free), counted in zip(limits.items(), shared, strict=True):
            if key.startswith((_ADDRESS, _ACCOUNT)) and self._knows(place):
                continue
            if max(self._remembered(key), int(counted or 0)) >= free:
                raise TooManyFailures

    def succeeded(self, username: str, address: str) -> None:
        """Remember the address of a successful login; only new addresses are written to Redis."""
        place = _place(username, address)
        if not self._knows(place):
            self._redis.increment(place, _PLACE_SECONDS)
            self._remember_place(place)

    def failed(self, username: str, address: str) -> None:
        """Count a wrong password."""
        for key in self._limits(username, address):
            self._count(key)

    def token_failed(self, address: str) -> None:
        """Count an invalid token, or raise TooManyFailures if the address exceeds its limit."""
        self._limit(f"{_TOKEN}{_hashed(_network(address))}", _FREE_TOKENS, TooManyFailures())

    def registering(self, address: str) -> None:
        """Count a registration, or raise TooManyRegistrations if the address exceeds its limit."""
        key = f"{_REGISTRATION}{_hashed(_network(address))}"
        self._limit(key, _FREE_REGISTRATIONS, TooManyRegistrations())

    def _limit(self, key: str, free: int, error: Throttled) -> None:
        (shared,) = self._redis.get(key)
        failures = max(self._remembered(key), int(shared or 0))
        if failures >= free:
            raise error
        self._count(key)

    def _count(self, key: str) -> None:
        now = self._monotonic()
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
            # Expires after a day, so that a daily login renews the key in Redis.
            self._places[place] = self._monotonic() + _PLACE_SECONDS / 30

    @staticmethod
    def _limits(username: str, address: str) -> dict[str, int]:
        network = _network(address)
        return {
            f"{_PREFIX}{_hashed(username, network)}": _FREE_BY_NAME,
            f"{_ADDRESS}{_hashed(network)}": _FREE_BY_ADDRESS,
            f"{_ACCOUNT}{_hashed(username)}": _FREE_BY_ACCOUNT,
        }


def _network(address: str) -> str:
    """Return the network that one client controls: for IPv6 usually a /64."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, _IPV6_PREFIX), strict=False))


def _place(username: str, address: str) -> str:
    return f"atoll:place:{_hashed(username, address)}"


def _hashed(*parts: str) -> str:
    """Return a hash, so that a password typed into the wrong field is not kept in Redis."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
