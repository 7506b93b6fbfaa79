"""The files of a medium: an OCI image layout, its description and a list of checksums."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from atoll.names import Digest

LAYOUT, INDEX = "oci-layout", "index.json"
DESCRIPTION, CHECKSUMS = "atoll-medium.json", "SHA256SUMS"
# The files without a content address; the list of checksums begins with them.
METADATA = (LAYOUT, INDEX, DESCRIPTION)
LAYOUT_CONTENT = b'{"imageLayoutVersion":"1.0.0"}'
PIECE = 2**20

_BLOB_NAME = re.compile(r"blobs/(sha256/[0-9a-f]{64}|sha512/[0-9a-f]{128})")

# Returns the bytes of a blob from a position.
Read = Callable[[int], Iterator[bytes]]


class WrongBytes(Exception):
    """The bytes of a blob do not have its digest or size."""


def blob_name(digest: Digest | str) -> str:
    """Return the name of the file of a manifest or blob."""
    algorithm, _, hexadecimal = str(digest).partition(":")
    return f"blobs/{algorithm}/{hexadecimal}"


def is_file_name(name: str) -> bool:
    """Return whether a medium can have a file of this name."""
    return name in {*METADATA, CHECKSUMS} or _BLOB_NAME.fullmatch(name) is not None


class MediumReader(ABC):
    """Reads the files of a medium; thread-safe. Only names of `is_file_name` exist."""

    path: Path

    @abstractmethod
    def size(self, name: str) -> int | None:
        """Return the size of a file in bytes; None if it does not exist."""

    @abstractmethod
    def open(self, name: str) -> BinaryIO:
        """Open a file that exists.

        Raises:
            MediumRefused: It is not a regular file, or it cannot be opened.
        """

    def close(self) -> None:  # noqa: B027 - most readers have nothing to close
        """Release the files of the medium."""


class MediumWriter(ABC):
    """Writes a medium, which becomes valid with `finish`. Errors are MediumError."""

    @abstractmethod
    def description(self) -> bytes | None:
        """Return the description of the medium that is extended; None for a new one."""

    @abstractmethod
    def has(self, digest: Digest, size: int) -> bool:
        """Return whether the medium has a blob of this size, which was hashed when written."""

    @abstractmethod
    def write(self, digest: Digest, size: int, read: Read) -> None:
        """Write a blob. After an interruption it continues with the bytes that were written.

        Args:
            digest: The digest.
            size: The size in bytes.
            read: Returns the bytes.

        Raises:
            WrongBytes: The bytes have another digest or size; nothing remains of them.
        """

    @abstractmethod
    def finish(self, metadata: Mapping[str, bytes]) -> None:
        """Write the files without a content address, and make the medium valid."""

    @abstractmethod
    def close(self) -> None:
        """Release the files; without `finish`, another export continues."""


def hash_file(file: BinaryIO, digest: Digest, size: int) -> Digest:
    """Return the digest of the next bytes of a file.

    Args:
        file: The file.
        digest: The digest whose algorithm is used.
        size: The number of bytes.
    """
    hasher = digest.hasher()
    while size and (piece := file.read(min(PIECE, size))):
        hasher.update(piece)
        size -= len(piece)
    return Digest(digest.algorithm, hasher.hexdigest())
