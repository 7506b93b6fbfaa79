"""The network path from a site to a store, which can be cut, lose responses or corrupt reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from atoll.storage.base import Body, ObjectStore, StoredObject
from atoll.storage.errors import StoreUnavailable

from .interleaving import REQUEST, stop
from .memory_store import MemoryStore

_PAGE = b"<html>We are sorry</html>"


class StorePath(ObjectStore):
    """A store as one site reaches it. `observe` is called for each failed request.

    Attributes:
        cut: whether no request reaches the store.
        answers_lost: the number of next writes and deletions whose responses are lost.
        intercepted: whether reads return a web page of an intermediary.
    """

    def __init__(
        self, store: MemoryStore, observe: Callable[[str, StoreUnavailable], None]
    ) -> None:
        self.location = store.location
        self.reset()
        self._store = store
        self._observe = observe

    def reset(self) -> None:
        """Repair the path."""
        self.cut = False
        self.answers_lost = 0
        self.intercepted = False

    def put(self, key: str, body: Body, size: int) -> None:
        self._ask("put", key, lambda: self._store.put(key, body, size), writes=True)

    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        pieces = self._ask("read", key, lambda: list(self._store.read(key, start, end)))
        if self.intercepted:
            yield _PAGE[start:end]
        else:
            yield from pieces

    def size(self, key: str) -> int:
        return self._ask("size", key, lambda: self._store.size(key))

    def delete(self, key: str) -> None:
        self._ask("delete", key, lambda: self._store.delete(key), writes=True)

    def list_objects(self, prefix: str) -> Iterator[StoredObject]:
        yield from self._ask("list", prefix, lambda: list(self._store.list_objects(prefix)))

    def presigned_url(self, key: str, seconds: int) -> str | None:
        return self._store.presigned_url(key, seconds)

    def begin_parts(self, key: str) -> str:
        return self._ask("begin parts", key, lambda: self._store.begin_parts(key))

    def put_part(self, key: str, upload_id: str, number: int, body: Body, size: int) -> str:
        return self._ask(
            "put part", key, lambda: self._store.put_part(key, upload_id, number, body, size)
        )

    def finish_parts(self, key: str, upload_id: str, tags: list[str], size: int) -> None:
        self._ask(
            "finish parts",
            key,
            lambda: self._store.finish_parts(key, upload_id, tags, size),
            writes=True,
        )

    def abort_parts(self, key: str, upload_id: str) -> None:
        self._ask("abort parts", key, lambda: self._store.abort_parts(key, upload_id))

    def probe(self, *, write: bool) -> None:
        self._ask("probe", "", lambda: self._store.probe(write=write))

    def _ask(self, what: str, key: str, request: Callable[[], Any], *, writes: bool = False) -> Any:
        stop(REQUEST, f"{what} {self.location}/{key}")
        try:
            if self.cut:
                raise StoreUnavailable(self.location, "path cut")
            answer = request()
            if writes and self.answers_lost:
                self.answers_lost -= 1
                raise StoreUnavailable(self.location, "no answer")
        except StoreUnavailable as error:
            self._observe(self.location, error)
            raise
        return answer
