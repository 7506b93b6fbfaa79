"""Common to all drivers: translate a request's errors, count it, and report its outcome."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from prometheus_client import Counter

from atoll import round_trips
from atoll.storage.base import ObjectStore
from atoll.storage.errors import ObjectMissing, StoreUnavailable
from atoll.storage.probe import PROBE_KEY, Probe


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
    """A store that reports the outcome of each request to OBSERVE, but for those of its probes."""

    def __init__(self, location: str, observe: Observe) -> None:
        self.location = location
        self._observe = observe
        self._probe = Probe(self)

    def probe(self, *, write: bool) -> None:
        """Look at the bucket and, once a minute, compare an object; with WRITE, write it."""
        self._probe.run(write=write)

    def look(self) -> None:
        """Raise StoreError unless the bucket is there."""
        with self._translated(PROBE_KEY):
            self._look()

    def read_small(self, key: str) -> bytes | None:
        """Return the beginning of a small object of a probe; None if there is none."""
        try:
            with self._translated(key):
                return self._read_small(key)
        except ObjectMissing:
            return None

    def write_small(self, key: str, data: bytes, *, new: bool = False) -> None:
        """Write a small object of a probe. Raises StoreError.

        With NEW, ObjectChanged if it is there, where the store knows that condition.
        """
        with self._translated(key):
            self._write_small(key, data, new=new)

    @abstractmethod
    def name_of(self, key: str) -> str:
        """Return the name of the object KEY in its bucket, for people."""

    @abstractmethod
    def _look(self) -> None:
        """Ask for the bucket. What the store's client raises is raised, here and below."""

    @abstractmethod
    def _read_small(self, key: str) -> bytes:
        """Return at most READ_MAXIMUM bytes of an object."""

    @abstractmethod
    def _write_small(self, key: str, data: bytes, *, new: bool) -> None:
        """Write an object, with NEW only where there is none."""

    @abstractmethod
    def _translated(self, key: str) -> AbstractContextManager[None]:
        """Turn the errors of the store's client about KEY into StoreError."""

    @contextmanager
    def _writes(self, key: str, *, store: bool = True) -> Iterator[None]:
        """Do as `_answers` for a request that changes the store; STORE: it stores bytes.

        Raises StoreOfOtherLocation, without a request, where a probe found the place to be another
        location's.
        """
        if (refusal := self._probe.refusal) is not None:
            raise refusal
        with self._answers(key, write=store):
            yield

    @contextmanager
    def _answers(self, key: str, *, write: bool = False) -> Iterator[None]:
        """Translate errors, count the request and report its outcome."""
        round_trips.count(round_trips.STORE)
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
