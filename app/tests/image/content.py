"""Blobs of any size that need no memory, because their bytes are generated from a seed."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator

MEBIBYTE = 2**20


class Content:
    """Bytes that depend on a seed; no two mebibytes are the same."""

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        self._block = random.Random(seed).randbytes(MEBIBYTE)
        hasher = hashlib.sha256()
        for piece in self.pieces():
            hasher.update(piece)
        self.digest = f"sha256:{hasher.hexdigest()}"

    def pieces(self, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield the bytes from `start` up to, but not including, `end`."""
        end = self.size if end is None else min(end, self.size)
        while start < end:
            number, offset = divmod(start, MEBIBYTE)
            block = number.to_bytes(8, "big") + self._block[8:]
            piece = block[offset : offset + end - start]
            yield piece
            start += len(piece)

    def stream(self, start: int = 0, end: int | None = None) -> Stream:
        """Return these bytes as an object with a length, for Content-Length."""
        end = self.size if end is None else min(end, self.size)
        return Stream(self.pieces(start, end), end - start)


class Stream:
    """A body of known length."""

    def __init__(self, pieces: Iterator[bytes], length: int) -> None:
        self._pieces = pieces
        self._length = length
        self._rest = b""

    def __len__(self) -> int:
        return self._length

    def read(self, size: int = -1) -> bytes:
        if not self._rest:
            self._rest = next(self._pieces, b"")
        size = len(self._rest) if size < 0 else size
        piece, self._rest = self._rest[:size], self._rest[size:]
        return piece
