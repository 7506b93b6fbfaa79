"""What blobs are copied from: an upstream, or a medium."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from atoll.names import Digest


class ByteStream(Protocol):
    """The bytes of a blob, or a part of them."""

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes once; those of a whole blob are verified at the end."""

    def abort(self) -> None:
        """End the stream: its reader gets `Stopped`. Thread-safe."""


class BlobSource(Protocol):
    """A registry or a medium that has blobs. Thread-safe."""

    @property
    def host(self) -> str:
        """What copies share buffers by."""

    def slot(self, waiting: Callable[[], None], /) -> AbstractContextManager[BlobSource]:
        """Wait until requests are permitted, and hold the permission."""

    def blob(self, digest: Digest, size: int, /) -> ByteStream:
        """Return the bytes of a blob."""

    def blob_part(self, digest: Digest, size: int, start: int, end: int, /) -> ByteStream:
        """Return the bytes of a blob from `start` up to but excluding `end`."""
