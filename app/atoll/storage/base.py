"""What Atoll asks of an object store. A driver is one class that does this and nothing else.

Keys are relative to the location's `storage_path`. Every method may raise StoreUnavailable; those
that read raise ObjectMissing for a key that is not there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, ClassVar

from atoll.names import Digest

# Seconds for which a link is good that a client is sent to an object with, as many as Quay's. It
# begins within a few; what it began may take longer.
LINK_SECONDS = 600

# What is written: a file from where it stands, or what is in memory.
Body = BinaryIO | bytes | memoryview


@dataclass(frozen=True)
class StoredPart:
    """A part of an upload, as the store has it: its tag, bytes, and MD5 in hexadecimal."""

    tag: str
    size: int
    md5: str


def blob_key(digest: Digest) -> str:
    """Return the key of a blob: `sha256/ab/abcd…`, as in Quay, so that buckets can be adopted."""
    return f"{digest.algorithm}/{digest.hex[:2]}/{digest.hex}"


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as its store lists it; the size is in bytes."""

    key: str
    size: int
    modified_at: datetime


class ObjectStore(ABC):
    """The store of one location; safe for any thread."""

    location: str
    # In how many parts an object may be written. S3 allows 10 000; what is left over is for a size
    # that was underestimated.
    parts_maximum: ClassVar[int] = 9000

    @abstractmethod
    def put(self, key: str, body: Body, size: int) -> None:
        """Write SIZE bytes of BODY, from where it stands, as one object."""

    @abstractmethod
    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield the object's bytes from START up to END (not included), in pieces.

        Beyond the object's end there is nothing to yield, which is no error.
        """

    @abstractmethod
    def size(self, key: str) -> int:
        """Return the object's size in bytes."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Take the object away; no error if it is not there."""

    @abstractmethod
    def list_objects(self, prefix: str) -> Iterator[StoredObject]:
        """Yield the objects below PREFIX, sorted by key, byte by byte.

        PREFIX ends with a slash, or is empty for all objects of the location.

        A page at a time: what comes and goes meanwhile may be there or not.
        """

    @abstractmethod
    def presigned_url(self, key: str, seconds: int) -> str | None:
        """Return a URL by which anybody may GET (a range of) the object for so many seconds.

        None where there is no such thing; whoever wants the bytes reads them then.
        """

    @abstractmethod
    def begin_parts(self, key: str) -> str:
        """Begin an object that is written in parts, and return the upload's id."""

    @abstractmethod
    def put_part(self, key: str, upload_id: str, number: int, body: Body, size: int) -> str:
        """Write part NUMBER (from 1) and return its tag."""

    def stored_parts(self, key: str, upload_id: str) -> dict[int, StoredPart]:  # noqa: ARG002
        """Return, by number, the parts whose content the store can tell.

        A store that cannot tell has none. Raises ObjectMissing if there is no such upload.
        """
        return {}

    @abstractmethod
    def finish_parts(self, key: str, upload_id: str, tags: list[str], size: int) -> None:
        """Make the parts, in order, the object KEY of SIZE bytes.

        The time-out grows with SIZE. Raises OutcomeUnknown if the store may have done it, or may
        still do it: the parts are to be kept then.
        """

    @abstractmethod
    def abort_parts(self, key: str, upload_id: str) -> None:
        """Throw the parts away; no error if the upload is not there."""

    def can_copy_from(self, source: ObjectStore) -> bool:  # noqa: ARG002
        """Tell whether the store itself can bring an object here from SOURCE."""
        return False

    def copy_from(
        self, source: ObjectStore, key: str, size: int, prove: Callable[[], None]
    ) -> None:
        """Let the store copy KEY from SOURCE, as the object was while PROVE looked at it.

        PROVE raises to stop it. Raises ObjectChanged where the object was written meanwhile.
        """
        raise NotImplementedError

    def abort_abandoned_parts(self, before: datetime, kept: Collection[str]) -> int:
        """Throw away the parts of uploads that began BEFORE then and are not KEPT, by their ids.

        Returns of how many uploads. Where a store does so by itself, of none.
        """
        del before, kept
        return 0

    @abstractmethod
    def probe(self, *, write: bool) -> None:
        """Prove within seconds that the store serves; with WRITE, that it takes objects too."""
