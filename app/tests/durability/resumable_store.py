"""A store in memory that lists the parts of multipart uploads, as S3 does."""

from __future__ import annotations

import hashlib

from atoll.storage.base import Body, StoredPart
from atoll.storage.errors import ObjectMissing

from .memory_store import MemoryStore


class ResumableStore(MemoryStore):
    """A store whose multipart uploads can be resumed.

    Attributes:
        forget: Whether parts are not kept, to measure the memory of others.
    """

    forget = False

    def put_part(self, key: str, upload_id: str, number: int, body: Body, size: int) -> str:
        if self.forget:
            assert isinstance(body, memoryview)
            return hashlib.md5(body).hexdigest()
        return super().put_part(key, upload_id, number, body, size)

    def finish_parts(self, key: str, upload_id: str, tags: list[str], size: int) -> None:
        if not self.forget:
            super().finish_parts(key, upload_id, tags, size)

    def stored_parts(self, key: str, upload_id: str) -> dict[int, StoredPart]:
        self._request("stored_parts", key)
        if upload_id not in self.parts:
            raise ObjectMissing(self.location, key)
        return {
            number: StoredPart(tag := hashlib.md5(data).hexdigest(), len(data), tag)
            for number, data in self.parts[upload_id].items()
        }
