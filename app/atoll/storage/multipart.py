"""Write an object from a stream or a large file by a multipart upload, in bounded memory.

At most `(IN_FLIGHT + 1) * part size` bytes of a stream are in memory. The parts of a file are read
from the file.
"""

from __future__ import annotations

import io
import logging
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import BinaryIO, cast

from atoll.storage.base import ObjectStore
from atoll.storage.errors import StoreError, StoreFull, StoreUnavailable

log = logging.getLogger(__name__)

MEBIBYTE = 2**20
# The largest object that is written with one request; S3 allows 5 GiB.
SINGLE_MAXIMUM = 32 * MEBIBYTE
PART_MINIMUM = 8 * MEBIBYTE
IN_FLIGHT = 3


# Returns the MD5 of a part of a file in hexadecimal, by its start and size, or None.
KnownMd5 = Callable[[int, int], str | None]


def _ignore() -> None:
    """Ignore progress."""


def _unknown(_start: int, _size: int) -> None:
    """Know no MD5."""


def part_size(total: int, maximum: int = ObjectStore.parts_maximum) -> int:
    """Return the part size in bytes for `total` bytes in at most `maximum` parts."""
    needed = -(-total // maximum)
    return max(PART_MINIMUM, -(-needed // MEBIBYTE) * MEBIBYTE)


class PartsWriter:
    """Writes a stream of bytes to one object, which becomes visible with `finish`.

    A context manager: without `finish`, its exit aborts the upload. A store that does not answer
    keeps the parts until abandoned uploads are aborted.
    """

    def __init__(
        self,
        store: ObjectStore,
        key: str,
        expected_size: int,
        progress: Callable[[], None] = _ignore,
    ) -> None:
        self._store = store
        self._progress = progress
        self._key = key
        self._part_size = part_size(expected_size, store.parts_maximum)
        self._buffer = bytearray()
        self._upload_id: str | None = None
        self._tags: list[str] = []
        self._pending: deque[Future[str]] = deque()
        self._executor = ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="part")
        self._size = 0
        self._finished = False

    @property
    def upload_id(self) -> str | None:
        """The multipart upload's id; None while all bytes fit into one part."""
        return self._upload_id

    def __enter__(self) -> PartsWriter:
        return self

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)
        if self._finished or self._upload_id is None or self._lost_store(error):
            return
        try:
            self._store.abort_parts(self._key, self._upload_id)
        except StoreError as failure:
            log.warning(
                "multipart upload not aborted", extra={"key": self._key, "cause": str(failure)}
            )

    def _lost_store(self, error: BaseException | None) -> bool:
        """Return whether an error shows that the store is unavailable."""
        if not isinstance(error, StoreUnavailable) or isinstance(error, StoreFull):
            return False
        return error.location == self._store.location

    def write(self, data: bytes) -> None:
        """Add bytes; waits while the maximum number of parts is being sent."""
        self._buffer += data
        while len(self._buffer) >= self._part_size:
            with memoryview(self._buffer) as view:
                part = bytes(view[: self._part_size])
            del self._buffer[: self._part_size]
            self._send(part, len(part))

    def write_file(
        self, file: BinaryIO, start: int, size: int, md5_of: KnownMd5 = _unknown
    ) -> None:
        """Add `size` bytes of a file from `start`, which have to be all of the object."""
        for offset in range(start, start + size, self._part_size):
            length = min(self._part_size, start + size - offset)
            part = FileSlice(file, offset, length, self._progress, md5_of(offset, length))
            self._send(cast(BinaryIO, part), length)

    def finish(self) -> None:
        """Complete the object."""
        if self._upload_id is None:
            self._store.put(self._key, bytes(self._buffer), len(self._buffer))
        else:
            if self._buffer:
                self._send(bytes(self._buffer), len(self._buffer))
            while self._pending:
                self._tags.append(self._pending.popleft().result())
            self._store.finish_parts(self._key, self._upload_id, self._tags, self._size)
        self._finished = True

    def _send(self, body: BinaryIO | bytes, size: int) -> None:
        if self._upload_id is None:
            self._upload_id = self._store.begin_parts(self._key)
        if len(self._pending) >= IN_FLIGHT:
            self._tags.append(self._pending.popleft().result())
        number = len(self._tags) + len(self._pending) + 1
        self._size += size
        self._pending.append(
            self._executor.submit(self._put_part, self._upload_id, number, body, size)
        )

    def _put_part(self, upload_id: str, number: int, body: BinaryIO | bytes, size: int) -> str:
        tag = self._store.put_part(self._key, upload_id, number, body, size)
        self._progress()
        return tag


@dataclass(frozen=True)
class FileRange:
    """Bytes of an open file.

    Attributes:
        descriptor: the file's descriptor.
        start: the position of the first byte.
        size: the number of bytes.
    """

    descriptor: int
    start: int
    size: int


class FileSlice(io.RawIOBase):
    """A part of a file with a position of its own, so that several can be read concurrently.

    Attributes:
        md5: the MD5 of the part in hexadecimal, if it is known.
    """

    def __init__(
        self,
        file: BinaryIO,
        start: int,
        size: int,
        progress: Callable[[], None] = _ignore,
        md5: str | None = None,
    ) -> None:
        super().__init__()
        self.md5 = md5
        self._progress = progress
        self._descriptor = file.fileno()
        self._start = start
        self._size = size
        self._position = 0

    def __len__(self) -> int:
        return self._size

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True: a retry reads the slice again."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the position within the slice."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        """Return the position within the slice."""
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read into a buffer without changing the file's position."""
        length = max(0, min(len(buffer), self._size - self._position))
        position = self._start + self._position
        read = os.preadv(self._descriptor, [memoryview(buffer)[:length]], position)
        self._position += read
        self._progress()
        return read

    def ranges(self, maximum: int) -> Iterator[FileRange]:
        """Yield the rest of the slice in ranges of at most `maximum` bytes."""
        while (left := self._size - self._position) > 0:
            size = min(left, maximum)
            yield FileRange(self._descriptor, self._start + self._position, size)
            self._position += size
            self._progress()


class _WatchedBytes(io.BytesIO):
    """Bytes in memory that report when they are read."""

    def __init__(self, content: bytes, progress: Callable[[], None]) -> None:
        super().__init__(content)
        self._progress = progress

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to `size` bytes."""
        self._progress()
        return super().read(size)


def reopened(file: BinaryIO, size: int) -> BinaryIO:
    """Return the first `size` bytes of a file as an independent file.

    It stays open when the file is closed. Its descriptor is a duplicate and shares the position, so
    only FileSlice may read it.
    """
    try:
        descriptor = os.dup(file.fileno())
    except io.UnsupportedOperation:
        file.seek(0)
        return io.BytesIO(file.read(size))
    file.flush()
    return os.fdopen(descriptor, "rb")


def put_file(
    store: ObjectStore,
    key: str,
    file: BinaryIO,
    size: int,
    progress: Callable[[], None] = _ignore,
    *,
    md5_of: KnownMd5 = _unknown,
) -> None:
    """Write the first `size` bytes of a file, with one request or by a multipart upload.

    Args:
        store: the store to write to.
        key: the object's key.
        file: the file.
        size: a number of bytes.
        progress: called whenever bytes were read.
        md5_of: returns the MD5s of parts that are known; others are computed.
    """
    if isinstance(file, io.BytesIO):
        store.put(key, _WatchedBytes(file.getvalue(), progress), size)
        return
    file.flush()
    if size <= SINGLE_MAXIMUM:
        whole = FileSlice(file, 0, size, progress, md5_of(0, size))
        store.put(key, cast(BinaryIO, whole), size)
        return
    with PartsWriter(store, key, size, progress) as writer:
        writer.write_file(file, 0, size, md5_of)
        writer.finish()
