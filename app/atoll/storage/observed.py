"""Common to all drivers: translate a request's errors, count it, and report its outcome."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from prometheus_client import Counter

from atoll import trips
from atoll.storage.errors import ObjectMissing, StoreUnavailable
from atoll.storage.interface import ObjectStore


class Observe(Protocol):
    """Receives the outcome of each request."""

    def __call__(
        self, location: str, error: StoreUnavailable | None, *, write: bool = False
    ) -> None:
        """Note that the store of LOCATION answered a request, or the error that it met.

        WRITE: the request was to change the store.
        """


REQUESTS = Counter("atoll_store_requests", "Requests to stores", ["location", "outcome"])


def nobody(location: str, error: StoreUnavailable | None, *, write: bool = False) -> None:
    """Observe nothing."""


class ObservedStore(ObjectStore):
    """A store that reports the outcome of each request to OBSERVE."""

    def __init__(self, location: str, observe: Observe) -> None:
        self.location = location
        self._observe = observe

    @abstractmethod
    def _translated(self, key: str) -> AbstractContextManager[None]:
        """Turn the errors of the store's client about KEY into StoreError."""

    @contextmanager
    def _answers(self, key: str, *, write: bool = False) -> Iterator[None]:
        """Translate errors, count the request and report its outcome."""
        trips.count(trips.STORE)
        try:
            with self._translated(key):
                yield
        except StoreUnavailable as error:
            REQUESTS.labels(self.location, "failed").inc()
            self._observe(self.location, error, write=write)
            raise
        except ObjectMissing:
            REQUESTS.labels(self.location, "missing").inc()
            self._observe(self.location, None, write=write)
            raise
        REQUESTS.labels(self.location, "served").inc()
        self._observe(self.location, None, write=write)
