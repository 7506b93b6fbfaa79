"""The interface of an object store. Each driver is one class that implements it.

Keys are relative to the location's `storage_path`. Every method may raise StoreUnavailable. Methods
that read raise ObjectMissing for a key without an object.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, ClassVar

from atoll.names import Digest

# Seconds for which a presigned URL is valid, as in Quay. A download begins within a few seconds,
# and may take longer.
LINK_SECONDS = 600

# Content to write: a file from its current position, or bytes in memory.
Body = BinaryIO | bytes | memoryview


@dataclass(frozen=True)
class StoredPart:
    """A part of a multipart upload as its store reports it.

    Attributes:
        tag: identifies the part when the upload is completed.
        size: in bytes.
        md5: of the content, in hexadecimal.
    """

    tag: str
    size: int
    md5: str


def blob_key(digest: Digest) -> str:
    """Return the key of a blob: `sha256/ab/abcd…`, as in Quay, so that buckets can be adopted."""
    return f"{digest.algorithm}/{digest.hex[:2]}/{digest.hex}"


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as its store lists it, with its size in bytes."""

    key: str
    size: int
    modified_at: datetime


class ObjectStore(ABC):
    """The store of one location; safe for any thread."""

    location: str
    # The maximum number of parts of an object. S3 allows 10 000; the rest is a reserve for sizes
    # that were underestimated.
    parts_maximum: ClassVar[int] = 9000

    @classmethod  # noqa: B027 - most drivers share only modules
    def preload(cls) -> None:
        """Load what all stores of this kind share, without threads and connections."""

    @abstractmethod
    def put(self, key: str, body: Body, size: int) -> None:
        """Write `size` bytes of `body`, from its current position, as one object."""

    @abstractmethod
    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield the object's bytes from `start` up to, not including, `end`, in pieces.

        A range beyond the end of the object yields nothing and is no error.
        """

    @abstractmethod
    def size(self, key: str) -> int:
        """Return the object's size in bytes."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Delete the object; no error if it does not exist."""

    @abstractmethod
    def list_objects(self, prefix: str) -> Iterator[StoredObject]:
        """Yield the objects below a prefix, sorted by the bytes of their keys.

        The list is read in pages; objects that are written or deleted meanwhile may be missing.

        Args:
            prefix: ends with a slash; empty for all objects of the location.
        """

    @abstractmethod
    def presigned_url(self, key: str, seconds: int) -> str | None:
        """Return a URL for unauthenticated GET requests of the object, valid for `seconds`.

        None if the store has no such URLs; the registry then sends the bytes itself.
        """

    @abstractmethod
    def begin_parts(self, key: str) -> str:
        """Start a multipart upload, and return its id."""

    @abstractmethod
    def put_part(self, key: str, upload_id: str, number: int, body: Body, size: int) -> str:
        """Write a part, numbered from 1, and return its tag."""

    def stored_parts(self, key: str, upload_id: str) -> dict[int, StoredPart]:  # noqa: ARG002
        """Return the uploaded parts by number; none if the store does not report their MD5.

        Raises:
            ObjectMissing: there is no such upload.
        """
        return {}

    @abstractmethod
    def finish_parts(self, key: str, upload_id: str, tags: list[str], size: int) -> None:
        """Complete a multipart upload: join its parts to one object of `size` bytes.

        The time-out grows with the size.

        Raises:
            OutcomeUnknown: the store may have completed it, or may still do so. The parts have to
                be kept.
        """

    @abstractmethod
    def abort_parts(self, key: str, upload_id: str) -> None:
        """Abort a multipart upload and delete its parts; no error if it does not exist."""

    def can_copy_from(self, source: ObjectStore) -> bool:  # noqa: ARG002
        """Return whether the store itself can copy an object from `source`."""
        return False

    def copy_from(
        self, source: ObjectStore, key: str, size: int, prove: Callable[[], None]
    ) -> None:
        """Have the store copy an object from `source`.

        Args:
            source: the store to copy from.
            key: the object's key in both stores.
            size: the object's size in bytes.
            prove: verifies the source's object before the copy; raises to prevent it.

        Raises:
            ObjectChanged: the source's object was replaced since it was verified.
        """
        raise NotImplementedError

    def abort_abandoned_parts(self, before: datetime, kept: Collection[str]) -> int:
        """Abort abandoned multipart uploads, and return their number.

        A store that expires them by itself returns 0.

        Args:
            before: uploads that were started earlier are aborted.
            kept: the ids of uploads to keep.
        """
        del before, kept
        return 0

    @abstractmethod
    def probe(self, *, write: bool) -> None:
        """Prove within seconds that the store can be read and, with `write`, written to."""
