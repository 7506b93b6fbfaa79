"""Base class of all drivers: translate errors, count requests and report their outcomes."""

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
    """Records the outcome of a request."""

    def __call__(
        self, location: str, error: StoreUnavailable | None, *, write: bool = False
    ) -> None:
        """Record an outcome.

        Args:
            location: the store's location.
            error: the error, None if the store answered.
            write: the request stores bytes.
        """


REQUESTS = Counter("atoll_store_requests", "Requests to stores", ["location", "outcome"])


def ignore_outcome(location: str, error: StoreUnavailable | None, *, write: bool = False) -> None:
    """Observe nothing."""


class ObservedStore(ObjectStore):
    """A store that reports the outcomes of its requests, except those of probes."""

    def __init__(self, location: str, observe: Observe) -> None:
        self.location = location
        self._observe = observe
        self._probe = Probe(self)

    def probe(self, *, write: bool) -> None:
        """Check the bucket and, once a minute or with `write`, the probe's object."""
        self._probe.run(write=write)

    def check_bucket(self) -> None:
        """Request the bucket; raise StoreError unless it exists."""
        with self._translated(PROBE_KEY):
            self._check_bucket()

    def read_small(self, key: str) -> bytes | None:
        """Return the beginning of a probe's object, None if it does not exist."""
        try:
            with self._translated(key):
                return self._read_small(key)
        except ObjectMissing:
            return None

    def write_small(self, key: str, data: bytes, *, new: bool = False) -> None:
        """Write a probe's object.

        With `new`, raise ObjectChanged if it exists, provided the store supports this condition.
        """
        with self._translated(key):
            self._write_small(key, data, new=new)

    @abstractmethod
    def name_of(self, key: str) -> str:
        """Return an object's name in the bucket, for error messages."""

    @abstractmethod
    def _check_bucket(self) -> None:
        """Request the bucket. This and the methods below raise the errors of the store's client."""

    @abstractmethod
    def _read_small(self, key: str) -> bytes:
        """Return the first READ_MAXIMUM bytes of an object."""

    @abstractmethod
    def _write_small(self, key: str, data: bytes, *, new: bool) -> None:
        """Write an object; with `new`, only if it does not exist."""

    @abstractmethod
    def _translated(self, key: str) -> AbstractContextManager[None]:
        """Translate errors of the store's client into StoreError."""

    @contextmanager
    def _writes(self, key: str, *, store: bool = True) -> Iterator[None]:
        """Do as `_answers` for a request that changes the store.

        Args:
            key: the object's key.
            store: the request stores bytes, instead of deleting some.

        Raises:
            LocationMismatch: a probe found the marker of another location; nothing is
                requested.
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
