"""Several ranges of a blob as one `multipart/byteranges` body (RFC 9110, section 14.6).

Each requested range becomes a part, in the order of the request: containers/storage (podman) fails
if the response has fewer parts than it requested ranges. Only reads from the store are merged.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing

from atoll.web.errors import TooManyRanges
from atoll.web.v2.byte_range import ByteRange

# Yields a blob's bytes from the first argument up to the second one (not included).
Read = Callable[[int, int], Generator[bytes, None, None]]

# Bytes between two ranges that are read and discarded, which takes less time than another request:
# a store needs some milliseconds for a request, in which it sends this many bytes.
GAP_MAXIMUM = 64 * 1024
# Bytes that one response may discard: a constant, plus a multiple of the requested bytes. Otherwise
# a few hundred ranges of one byte would read many megabytes from the store.
DISCARDED_FREE, DISCARDED_FACTOR = 2**20, 4
# Sequential requests to the store for one response, each from a thread of its own.
READS_MAXIMUM = 128


class MultipartRanges:
    """The body of one response.

    Raises TooManyRanges if the ranges are too scattered.

    Args:
        ranges: the ranges of the blob.
        size: the size of the blob in bytes.
    """

    def __init__(self, ranges: Sequence[ByteRange], size: int) -> None:
        self._ranges = ranges
        self._groups = _groups(ranges)
        if len(self._groups) > READS_MAXIMUM:
            raise TooManyRanges(
                f"the ranges are in {len(self._groups)} distant places of the blob; request at most"
                f" {READS_MAXIMUM} at once, or larger ranges"
            )
        self._size = size
        # Random, so that it is in no blob.
        self._boundary = secrets.token_hex(16)
        self._end = f"\r\n--{self._boundary}--\r\n".encode()

    @property
    def content_type(self) -> str:
        """The value of the Content-Type header."""
        return f"multipart/byteranges; boundary={self._boundary}"

    @property
    def content_length(self) -> int:
        """The size of the body in bytes."""
        parts = sum(len(self._head(one)) + one[1] - one[0] for one in self._ranges)
        # The first delimiter begins the body, so that no line break precedes it.
        return parts - len(b"\r\n") + len(self._end)

    def body(self, read: Read) -> Generator[bytes, None, None]:
        """Yield the body. The first piece contains bytes of the blob.

        Args:
            read: returns bytes of the blob; it is called once for ranges that are near each other.
        """
        first = True
        for group in self._groups:
            with closing(read(group[0][0], group[-1][1])) as pieces:
                source = _Forward(pieces, group[0][0])
                for one in group:
                    source.skip_to(one[0])
                    head = self._head(one)
                    for piece in source.take_until(one[1]):
                        yield (head.lstrip() if first else head) + piece
                        head, first = b"", False
        yield self._end

    def _head(self, one: ByteRange) -> bytes:
        start, end = one
        return (
            f"\r\n--{self._boundary}\r\n"
            "Content-Type: application/octet-stream\r\n"
            f"Content-Range: bytes {start}-{end - 1}/{self._size}\r\n\r\n"
        ).encode()


def _groups(ranges: Sequence[ByteRange]) -> list[list[ByteRange]]:
    """Split ranges, in order, into groups that one read covers without reading a byte twice."""
    groups: list[list[ByteRange]] = []
    budget = DISCARDED_FREE + DISCARDED_FACTOR * sum(end - start for start, end in ranges)
    for one in ranges:
        gap = one[0] - groups[-1][-1][1] if groups else -1
        if 0 <= gap <= min(GAP_MAXIMUM, budget):
            groups[-1].append(one)
            budget -= gap
        else:
            groups.append([one])
    return groups


class _Forward:
    """Split a stream of bytes at given positions.

    Args:
        pieces: the stream.
        position: the position of its first byte.
    """

    def __init__(self, pieces: Iterator[bytes], position: int) -> None:
        self._pieces = pieces
        self._position = position
        self._rest = memoryview(b"")

    def skip_to(self, position: int) -> None:
        """Discard the bytes before a position."""
        for _ in self._cut(position):
            pass

    def take_until(self, end: int) -> Iterator[bytes]:
        """Yield the bytes up to a position (not included), in pieces that are not empty."""
        return map(bytes, self._cut(end))

    def _cut(self, end: int) -> Iterator[memoryview]:
        while self._position < end:
            if not self._rest:
                self._rest = memoryview(next(self._pieces))
                continue
            piece = self._rest[: end - self._position]
            self._rest = self._rest[len(piece) :]
            self._position += len(piece)
            yield piece
