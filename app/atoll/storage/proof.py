"""Proof that a store received the bytes that were sent, and sent the requested bytes.

A proxy that answers every request with a page of its own, or a store that loses a write, reports
success as well. So the status alone proves nothing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from io import RawIOBase
from typing import cast

from atoll.names import Hash
from atoll.storage.base import Body
from atoll.storage.errors import InvalidStoreResponse, WriteNotProven
from atoll.storage.multipart import FileSlice

_PIECE = 1024 * 1024
_MD5 = re.compile(r"[0-9a-f]{32}")
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
# Headers of answers whose ETag is not the MD5 of the sent bytes, because the store encrypts with a
# key that it does not manage alone.
_ENCRYPTED_BY = (
    "x-amz-server-side-encryption-customer-algorithm",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-goog-encryption-algorithm",
    "x-goog-encryption-kms-key-name",
)
_ENCRYPTION = "x-amz-server-side-encryption"
_PARTIAL_CONTENT = 206


class Content:
    """The next `size` bytes of a body, and their hashes."""

    def __init__(self, body: Body, size: int) -> None:
        self.body = body
        self.size = size
        self._start = 0 if isinstance(body, bytes | memoryview) else body.tell()

    @cached_property
    def md5(self) -> str:
        """The MD5 in hexadecimal. A file is read for it, unless its MD5 is known."""
        if isinstance(self.body, FileSlice) and self.body.md5 is not None:
            return self.body.md5
        return self._hashed(hashlib.md5(usedforsecurity=False))

    @cached_property
    def sha256(self) -> str:
        """The SHA-256 in hexadecimal. A file is read for it."""
        return self._hashed(hashlib.sha256())

    def pieces(self, size: int = _PIECE) -> Iterator[bytes | memoryview]:
        """Yield the content; a piece of a file is valid until the next one is requested.

        Args:
            size: the most bytes of a piece of a file.

        Raises:
            EOFError: the file has fewer bytes.
        """
        if isinstance(self.body, bytes | memoryview):
            yield self.body
            return
        self.rewind()
        # BinaryIO of the standard library does not declare `readinto`, which all files have.
        file = cast(RawIOBase, self.body)
        with memoryview(bytearray(min(size, self.size))) as buffer:
            remaining = self.size
            while remaining:
                read = file.readinto(buffer[: min(remaining, size)])
                if not read:
                    raise EOFError(f"{remaining} of {self.size} bytes are missing in the file")
                remaining -= read
                yield buffer[:read]

    def rewind(self) -> None:
        """Set the position of a file to the beginning of the content."""
        if not isinstance(self.body, bytes | memoryview):
            self.body.seek(self._start)

    def _hashed(self, hasher: Hash) -> str:
        for piece in self.pieces():
            hasher.update(piece)
        return hasher.hexdigest()


def require_md5(location: str, tag: str, content: Content, headers: Mapping[str, str]) -> None:
    """Compare an ETag with the content that was written, if the ETag is an MD5.

    Args:
        location: the store's location.
        tag: the ETag.
        content: the content.
        headers: the headers of the answer, with lower-case names. If the store encrypts with a key
            of its own, the ETag is not compared.

    Raises:
        WriteNotProven: the ETag is the MD5 of other content.
    """
    tag = plain(tag)
    if _is_encrypted(headers) or not is_md5(tag):
        return
    if tag != content.md5:
        raise WriteNotProven(
            location, f"it reports MD5 {tag} for what was written, which has {content.md5}"
        )


def plain(tag: str) -> str:
    """Return an ETag without quotes, in lower case."""
    return tag.strip('"').lower()


def is_md5(tag: str) -> bool:
    """Return whether an ETag has the form of an MD5 in hexadecimal."""
    return _MD5.fullmatch(plain(tag)) is not None


def multipart_tag(tags: list[str]) -> str | None:
    """Return the ETag that S3 computes from the ETags of parts, None if they are not MD5s."""
    if not all(is_md5(tag) for tag in tags):
        return None
    joined = b"".join(bytes.fromhex(plain(tag)) for tag in tags)
    return f"{hashlib.md5(joined, usedforsecurity=False).hexdigest()}-{len(tags)}"


def require_range(
    location: str, status: int, content_range: str | None, start: int, end: int | None
) -> int:
    """Return the length of the range in an answer.

    Args:
        location: the store's location.
        status: the status of the answer.
        content_range: its header Content-Range.
        start: the first requested byte.
        end: the byte after the last one, None for all.

    Raises:
        InvalidStoreResponse: it is not the requested range.
    """
    match = _CONTENT_RANGE.fullmatch((content_range or "").strip())
    if status == _PARTIAL_CONTENT and match is not None:
        first, last = int(match[1]), int(match[2])
        total = None if match[3] == "*" else int(match[3])
        if first == start and _is_last(last, total, end):
            return last - first + 1
    raise InvalidStoreResponse(
        location,
        f"asked for bytes {start} to {'the end' if end is None else end - 1} of an object, it"
        f" answered {status} with Content-Range '{content_range or ''}'",
    )


def exactly(location: str, pieces: Iterator[bytes], length: int) -> Iterator[bytes]:
    """Yield pieces; raise InvalidStoreResponse if they are more or fewer than `length` bytes."""
    remaining = length
    for piece in pieces:
        remaining -= len(piece)
        if remaining < 0:
            break
        yield piece
    if remaining:
        raise InvalidStoreResponse(
            location, f"its answer does not have the {length} bytes it announced"
        )


def _is_last(last: int, total: int | None, end: int | None) -> bool:
    if total is None:
        return end is None or last < end
    return last == (total if end is None else min(end, total)) - 1


def _is_encrypted(headers: Mapping[str, str]) -> bool:
    return any(name in headers for name in _ENCRYPTED_BY) or (
        headers.get(_ENCRYPTION, "AES256") != "AES256"
    )
