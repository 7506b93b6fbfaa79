"""Presigned URLs of objects, each of which is given to several clients.

A URL contains the object's address, the time, and a signature with the keys of the store, and
nothing about the client. So every client that may read the object may get the same URL, after its
own permission was checked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from atoll.bounded_cache import BoundedCache
from atoll.storage.base import ObjectStore
from atoll.storage.health import StoreHealth
from atoll.storage.states import LocationStates

# The part of its lifetime in which a URL is given to clients. The rest, of 600 s at least 480, is
# left for the beginning of their downloads.
_REUSED = 0.2
# URLs of several hundred bytes.
_MAXIMUM = 4096


@dataclass(frozen=True, slots=True)
class _Link:
    """A URL, and what must be unchanged for its reuse.

    Attributes:
        url: the URL.
        until: when its reuse ends, on the monotonic clock.
        since: when the health of its store last changed.
        state: the state of its location.
    """

    url: str
    until: float
    since: float | None
    state: str


class Links:
    """Presigned URLs, reused while the health of their store and the state of its location last."""

    def __init__(
        self,
        stores: Mapping[str, ObjectStore],
        health: StoreHealth,
        states: LocationStates,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stores = stores
        self._health = health
        self._states = states
        self._monotonic = monotonic
        self._links: BoundedCache[tuple[str, str, int], _Link] = BoundedCache(_MAXIMUM)

    def url(self, location: str, key: str, seconds: int) -> str | None:
        """Return a URL for unauthenticated GET requests of an object.

        Args:
            location: the location of the object.
            key: the object's key.
            seconds: the lifetime of the URL, most of which is left.

        Returns:
            The URL; None if the store has no such URLs.
        """
        wanted = (location, key, seconds)
        now = self._monotonic()
        since, state = self._health.since(location), self._states.state(location)
        link = self._links.get(wanted)
        if link is not None and now < link.until and (link.since, link.state) == (since, state):
            return link.url
        url = self._stores[location].presigned_url(key, seconds)
        if url is not None:
            self._links.put(wanted, _Link(url, now + seconds * _REUSED, since, state))
        return url
