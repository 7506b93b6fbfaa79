"""What every driver does around a request: translate errors, count, and tell who observes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from prometheus_client import Counter

from atoll import trips
from atoll.storage.errors import ObjectMissing, StoreFull, StoreUnavailable
from atoll.storage.interface import ObjectStore


class Observe(Protocol):
    """Who is told of each request."""

    def __call__(self, location: str, failure: str | None, *, full: bool = False) -> None:
        """Learn that the store of LOCATION served a request, or why not; FULL: it has no room."""


REQUESTS = Counter("atoll_store_requests", "Requests to stores", ["location", "outcome"])


def nobody(location: str, failure: str | None, *, full: bool = False) -> None:
    """Observe nothing."""


class ObservedStore(ObjectStore):
    """A store whose OBSERVE is told of each request whether the store served it."""

    def __init__(self, location: str, observe: Observe) -> None:
        self.location = location
        self._observe = observe

    @abstractmethod
    def _translated(self, key: str) -> AbstractContextManager[None]:
        """Turn what the store's client raises about KEY into StoreError."""

    @contextmanager
    def _answers(self, key: str) -> Iterator[None]:
        """Translate errors, count the request and tell the observer how it went."""
        trips.count(trips.STORE)
        try:
            with self._translated(key):
                yield
        except StoreUnavailable as error:
            REQUESTS.labels(self.location, "failed").inc()
            self._observe(self.location, error.cause, full=isinstance(error, StoreFull))
            raise
        except ObjectMissing:
            REQUESTS.labels(self.location, "missing").inc()
            raise
        REQUESTS.labels(self.location, "served").inc()
        self._observe(self.location, None)
