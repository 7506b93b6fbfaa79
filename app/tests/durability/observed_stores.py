"""Stores in memory that report their requests to the health of a site, as drivers do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from atoll.periodic import ThreadRegistry
from atoll.storage.base import Body, ObjectStore, StoredObject
from atoll.storage.observed_store import Observe, ObservedStore
from atoll.storage.prober import Prober

from .memory_store import MemoryStore
from .sites import MemorySite


class ObservedMemoryStore(ObservedStore):
    """A store that reports every request except probes to `observe`."""

    def __init__(self, store: MemoryStore, observe: Observe) -> None:
        super().__init__(store.location, observe)
        self._store = store

    def put(self, key: str, body: Body, size: int) -> None:
        with self._answers(key, write=True):
            self._store.put(key, body, size)

    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        with self._answers(key):
            yield from self._store.read(key, start, end)

    def size(self, key: str) -> int:
        with self._answers(key):
            return self._store.size(key)

    def delete(self, key: str) -> None:
        with self._answers(key):
            self._store.delete(key)

    def list_objects(self, prefix: str) -> Iterator[StoredObject]:
        with self._answers(prefix):
            yield from self._store.list_objects(prefix)

    def presigned_url(self, key: str, seconds: int) -> str:
        return self._store.presigned_url(key, seconds)

    def begin_parts(self, key: str) -> str:
        with self._answers(key, write=True):
            return self._store.begin_parts(key)

    def put_part(self, key: str, upload_id: str, number: int, body: Body, size: int) -> str:
        with self._answers(key, write=True):
            return self._store.put_part(key, upload_id, number, body, size)

    def finish_parts(self, key: str, upload_id: str, tags: list[str], size: int) -> None:
        with self._answers(key, write=True):
            self._store.finish_parts(key, upload_id, tags, size)

    def abort_parts(self, key: str, upload_id: str) -> None:
        with self._answers(key):
            self._store.abort_parts(key, upload_id)

    def probe(self, *, write: bool) -> None:
        self._store.probe(write=write)

    def name_of(self, key: str) -> str:
        return key

    def _check_bucket(self) -> None:
        """Not used, because MemoryStore implements `probe` itself."""

    def _read_small(self, key: str) -> bytes:
        raise NotImplementedError

    def _write_small(self, key: str, data: bytes, *, new: bool) -> None:
        raise NotImplementedError

    @contextmanager
    def _translated(self, key: str) -> Iterator[None]:
        del key
        yield


@contextmanager
def observed(site: MemorySite) -> Iterator[None]:
    """Make `site` observe and probe its stores. Must precede any other use of its services."""
    locations = site.locations
    stores: dict[str, ObjectStore] = {
        name: ObservedMemoryStore(store, locations.health.observe)
        for name, store in site.stores.items()
    }
    site.graph.__dict__["locations"] = replace(locations, stores=stores)
    prober = Prober(stores, locations.health)
    prober.start(ThreadRegistry())
    prober.wait_for_first(seconds=60)
    try:
        yield
    finally:
        prober.stop()
