"""Write an object whose bytes come as a stream or a large file: in parts, with bounded memory.

At most `(IN_FLIGHT + 1) * part size` bytes of a stream are held. A file is read where each part
stands, so its parts cost no memory.
"""

from __future__ import annotations

import io
import logging
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO, cast

from atoll.storage.base import ObjectStore
from atoll.storage.errors import StoreError, StoreFull, StoreUnavailable

log = logging.getLogger(__name__)

MEBIBYTE = 2**20
# From here on an object is written in parts; S3 allows 5 GiB in one.
SINGLE_MAXIMUM = 32 * MEBIBYTE
PART_MINIMUM = 8 * MEBIBYTE
IN_FLIGHT = 3


def _ignore() -> None:
    """Ignore progress."""


def part_size(total: int, maximum: int = ObjectStore.parts_maximum) -> int:
    """Return the size of a part, in bytes, such that TOTAL bytes fit MAXIMUM parts."""
    needed = -(-total // maximum)
    return max(PART_MINIMUM, -(-needed // MEBIBYTE) * MEBIBYTE)


class PartsWriter:
    """Write a stream of bytes to one object. Nothing is visible under KEY before `finish`.

    Use as a context manager: leaving it without `finish` throws the parts away. A store that does
    not answer keeps them, until somebody looks for abandoned ones.
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
        """The multipart upload's id; None as long as all fits into one part."""
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
            log.warning("parts left behind", extra={"key": self._key, "cause": str(failure)})

    def _lost_store(self, error: BaseException | None) -> bool:
        """Tell whether ERROR says that the store is not to be asked for anything more now."""
        if not isinstance(error, StoreUnavailable) or isinstance(error, StoreFull):
            return False
        return error.location == self._store.location

    def write(self, data: bytes) -> None:
        """Add DATA; waits where as much as may be is on its way already."""
        self._buffer += data
        while len(self._buffer) >= self._part_size:
            with memoryview(self._buffer) as view:
                part = bytes(view[: self._part_size])
            del self._buffer[: self._part_size]
            self._send(part, len(part))

    def write_file(self, file: BinaryIO, start: int, size: int) -> None:
        """Add SIZE bytes of FILE from START on, and nothing else to this object."""
        for offset in range(start, start + size, self._part_size):
            length = min(self._part_size, start + size - offset)
            part = FileSlice(file, offset, length, self._progress)
            self._send(cast(BinaryIO, part), length)

    def finish(self) -> None:
        """Make what was written the object KEY."""
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


class FileSlice(io.RawIOBase):
    """A part of a file that can be read, and read again, beside other parts of the same file."""

    def __init__(
        self, file: BinaryIO, start: int, size: int, progress: Callable[[], None] = _ignore
    ) -> None:
        super().__init__()
        self._progress = progress
        self._descriptor = file.fileno()
        self._start = start
        self._size = size
        self._position = 0

    def __len__(self) -> int:
        return self._size

    def readable(self) -> bool:
        """Say that a slice can be read."""
        return True

    def seekable(self) -> bool:
        """Say that a slice can be read again, which a retry needs."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to OFFSET within the slice."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        """Return the position within the slice."""
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read into BUFFER without moving the file's own position."""
        length = max(0, min(len(buffer), self._size - self._position))
        data = os.pread(self._descriptor, length, self._start + self._position)
        buffer[: len(data)] = data
        self._position += len(data)
        self._progress()
        return len(data)


class _WatchedBytes(io.BytesIO):
    """Bytes in memory that report when some of them are read."""

    def __init__(self, content: bytes, progress: Callable[[], None]) -> None:
        super().__init__(content)
        self._progress = progress

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to SIZE bytes."""
        self._progress()
        return super().read(size)


def reopened(file: BinaryIO, size: int) -> BinaryIO:
    """Return SIZE bytes of FILE as a file that outlives it and shares no position with it.

    The descriptor is a duplicate, and must be read by FileSlice only.
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
) -> None:
    """Write SIZE bytes of FILE from its beginning: at once, or in parts where it is large.

    PROGRESS is called whenever some of them were read.
    """
    if isinstance(file, io.BytesIO):
        store.put(key, _WatchedBytes(file.getvalue(), progress), size)
        return
    file.flush()
    if size <= SINGLE_MAXIMUM:
        store.put(key, cast(BinaryIO, FileSlice(file, 0, size, progress)), size)
        return
    with PartsWriter(store, key, size, progress) as writer:
        writer.write_file(file, 0, size)
        writer.finish()
