"""An object store in memory, for tests of the code that calls stores."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from atoll.storage.base import Body, ObjectStore, StoredObject
from atoll.storage.errors import ObjectMissing, StoreFull, StoreUnavailable


class MemoryStore(ObjectStore):
    """A store that a test breaks with `broken` or fills with `full`; `probes` lists its probes."""

    def __init__(self, location: str = "us") -> None:
        self.location = location
        self.objects: dict[str, bytes] = {}
        self.parts: dict[str, dict[int, bytes]] = {}
        self.broken = False
        self.full = False
        self.probes: list[bool] = []

    def put(self, key: str, body: Body, size: int) -> None:
        self._check()
        data = bytes(body) if isinstance(body, bytes | memoryview) else body.read(size)
        assert len(data) == size
        self.objects[key] = data

    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        self._check()
        if key not in self.objects:
            raise ObjectMissing(self.location, key)
        yield self.objects[key][start:end]

    def size(self, key: str) -> int:
        if key not in self.objects:
            raise ObjectMissing(self.location, key)
        return len(self.objects[key])

    def delete(self, key: str) -> None:
        self.objects.pop(key, None)

    def list_objects(self, prefix: str) -> Iterator[StoredObject]:
        for key in sorted(self.objects):
            if key.startswith(prefix):
                yield StoredObject(key, len(self.objects[key]), datetime.now(UTC))

    def presigned_url(self, key: str, seconds: int) -> str:
        return f"https://{self.location}/{key}?for={seconds}"

    def begin_parts(self, key: str) -> str:
        self._check()
        self.parts[key] = {}
        return key

    def put_part(self, key: str, upload_id: str, number: int, body: Body, size: int) -> str:
        self._check()
        assert upload_id == key
        data = bytes(body) if isinstance(body, bytes | memoryview) else body.read()
        assert len(data) == size
        self.parts[upload_id][number] = data
        return str(number)

    def finish_parts(self, key: str, upload_id: str, tags: list[str], size: int) -> None:
        parts = self.parts.pop(upload_id)
        assert [str(number) for number in sorted(parts)] == tags
        assert sum(map(len, parts.values())) == size
        self.objects[key] = b"".join(parts[number] for number in sorted(parts))

    def abort_parts(self, key: str, upload_id: str) -> None:
        del key
        self.parts.pop(upload_id, None)

    def probe(self, *, write: bool) -> None:
        self.probes.append(write)
        self._check()
        if write and self.full:
            raise StoreFull(self.location, "filled by the test")

    def _check(self) -> None:
        if self.broken:
            raise StoreUnavailable(self.location, "broken by the test")
