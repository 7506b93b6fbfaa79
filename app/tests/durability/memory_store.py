"""An object store in memory with faults: errors, wrong bytes, delays and late deletions."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from uuid import uuid4

from atoll.storage.base import Body, ObjectStore, StoredObject
from atoll.storage.errors import ObjectMissing, StoreUnavailable

# A fault is called before each operation, with its name ("put", "read", "delete", ...) and the
# key. It raises a StoreError, blocks, or returns.
Fault = Callable[[str, str], None]


class MemoryStore(ObjectStore):
    """The thread-safe store of `location`, a dictionary of objects.

    Attributes:
        objects: the bytes of each visible object, by key.
        down: whether every request raises StoreUnavailable.
        unreadable: keys whose reads raise StoreUnavailable, like objects on a bad disk.
        wrong_bytes: bytes that reads return instead of those of the object, by key.
        fault: called before each operation.
        late_deletions: while not None, `delete` fails with StoreUnavailable and its key is queued
            here; `carry_out_deletions` removes the objects afterwards.
        requests: the number of calls of each operation.
    """

    def __init__(self, location: str, observe: Callable[..., None] | None = None) -> None:
        self.location = location
        self.objects: dict[str, bytes] = {}
        self.parts: dict[str, dict[int, bytes]] = {}
        self.down = False
        self.unreadable: set[str] = set()
        self.wrong_bytes: dict[str, bytes] = {}
        self.fault: Fault | None = None
        self.late_deletions: list[str] | None = None
        self.requests: Counter[str] = Counter()
        self._observe = observe
        self._lock = threading.RLock()

    def put(self, key: str, body: Body, size: int) -> None:
        self._request("put", key)
        data = bytes(body) if isinstance(body, bytes | memoryview) else body.read(size)
        assert len(data) == size
        with self._lock:
            self.objects[key] = data

    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        self._request("read", key)
        if key in self.unreadable:
            raise self._failure(f"cannot read {key}")
        with self._lock:
            data = self.wrong_bytes.get(key, self.objects.get(key))
        if data is None:
            raise ObjectMissing(self.location, key)
        yield data[start:end]

    def size(self, key: str) -> int:
        self._request("size", key)
        with self._lock:
            if key not in self.objects:
                raise ObjectMissing(self.location, key)
            return len(self.objects[key])

    def delete(self, key: str) -> None:
        self._request("delete", key)
        with self._lock:
            if self.late_deletions is not None:
                self.late_deletions.append(key)
                raise self._failure("deletion not answered")
            self.objects.pop(key, None)

    def carry_out_deletions(self) -> None:
        """Delete the objects whose deletion was not answered."""
        with self._lock:
            for key in self.late_deletions or []:
                self.objects.pop(key, None)
            if self.late_deletions:
                self.late_deletions.clear()

    def list_objects(self, prefix: str) -> Iterator[StoredObject]:
        self._request("list", prefix)
        with self._lock:
            found = sorted((key, len(data)) for key, data in self.objects.items())
        for key, size in found:
            if key.startswith(prefix):
                yield StoredObject(key, size, datetime.now(UTC))

    def presigned_url(self, key: str, seconds: int) -> str:
        return f"https://{self.location}.test/{key}?seconds={seconds}"

    def begin_parts(self, key: str) -> str:
        self._request("begin_parts", key)
        upload = uuid4().hex
        self.parts[upload] = {}
        return upload

    def put_part(self, key: str, upload_id: str, number: int, body: Body, size: int) -> str:
        self._request("put_part", key)
        data = bytes(body) if isinstance(body, bytes | memoryview) else body.read()
        assert len(data) == size
        with self._lock:
            self.parts[upload_id][number] = data
        return hashlib.md5(data).hexdigest()

    def finish_parts(self, key: str, upload_id: str, tags: list[str], size: int) -> None:
        self._request("finish_parts", key)
        with self._lock:
            parts = self.parts.pop(upload_id)
            assert len(parts) == len(tags)
            assert sum(map(len, parts.values())) == size
            self.objects[key] = b"".join(parts[number] for number in sorted(parts))

    def abort_parts(self, key: str, upload_id: str) -> None:
        self._request("abort_parts", key)
        self.parts.pop(upload_id, None)

    def probe(self, *, write: bool) -> None:
        self._request("probe_write" if write else "probe", "_verify")

    def _request(self, operation: str, key: str) -> None:
        with self._lock:
            self.requests[operation] += 1
        if self.fault is not None:
            self.fault(operation, key)
        if self.down:
            raise self._failure("down")

    def _failure(self, cause: str) -> StoreUnavailable:
        if self._observe is not None:
            self._observe(self.location, cause)
        return StoreUnavailable(self.location, cause)
