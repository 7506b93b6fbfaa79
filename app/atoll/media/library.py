"""The manifests and blobs of media, as a source of copies."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from atoll.media.errors import MediumRefused
from atoll.media.files import PIECE, blob_name
from atoll.media.medium import Medium
from atoll.names import Digest, Hash
from atoll.registry.manifest_format import MAXIMUM_SIZE
from atoll.upstream.errors import Stopped


class Library:
    """The content of one or several media; a `BlobSource`. Thread-safe."""

    host = "media"

    def __init__(self, media: Sequence[Medium]) -> None:
        self._media = media

    def size(self, digest: str) -> int | None:
        """Return the size of a manifest or blob in bytes; None if no medium has it."""
        found = self._find(digest)
        return None if found is None else found.description.files[digest]

    def manifest(self, digest: str) -> bytes | None:
        """Return a manifest; None if no medium has it.

        Raises:
            MediumRefused: The file is altered, or too large for a manifest.
        """
        size = self.size(digest)
        if size is None:
            return None
        if size > MAXIMUM_SIZE:
            raise MediumRefused(f"{self.name(digest)} is too large for a manifest")
        return b"".join(self.blob(Digest.parse(digest), size).pieces())

    @contextmanager
    def slot(self, _waiting: Callable[[], None], /) -> Iterator[Library]:
        """Return the library: files are read without a limit."""
        yield self

    def blob(self, digest: Digest, size: int, /) -> FileStream:
        """Return the bytes of a blob, which are verified at the end."""
        return FileStream(self, digest, 0, size, digest.hasher())

    def blob_part(self, digest: Digest, _size: int, start: int, end: int, /) -> FileStream:
        """Return a part of a blob."""
        return FileStream(self, digest, start, end)

    def name(self, digest: str) -> str:
        """Return the file of a manifest or blob, for errors."""
        found = self._find(digest)
        path = "" if found is None else found.path
        return f"medium '{path}': '{blob_name(digest)}'"

    def read(self, digest: str, start: int, end: int) -> Iterator[bytes]:
        """Yield the bytes of a file from `start` up to but excluding `end`.

        Raises:
            MediumRefused: The file is missing, unreadable or too short.
        """
        found = self._find(digest)
        if found is None:
            raise MediumRefused(f"no medium has '{blob_name(digest)}'")
        try:
            with found.reader.open(blob_name(digest)) as file:
                file.seek(start)
                while start < end and (piece := file.read(min(PIECE, end - start))):
                    start += len(piece)
                    yield piece
        except OSError as error:
            raise MediumRefused(
                f"{self.name(digest)} cannot be read: {error.strerror}; copy it again"
            ) from error
        if start < end:
            raise MediumRefused(f"{self.name(digest)} is truncated; copy it again")

    def _find(self, digest: str) -> Medium | None:
        return next((one for one in self._media if digest in one.description.files), None)


class FileStream:
    """The bytes of a blob, or a part of them; a `ByteStream`."""

    def __init__(
        self, library: Library, digest: Digest, start: int, end: int, hasher: Hash | None = None
    ) -> None:
        self._library = library
        self._digest = digest
        self._start = start
        self._end = end
        self._hasher = hasher
        self._aborted = threading.Event()

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes in pieces.

        Raises:
            MediumRefused: They cannot be read, or do not have the digest.
            Stopped: The stream was aborted.
        """
        for piece in self._library.read(str(self._digest), self._start, self._end):
            if self._aborted.is_set():
                raise Stopped(f"the copy of {self._digest} was aborted")
            if self._hasher is not None:
                self._hasher.update(piece)
            yield piece
        if self._hasher is not None and self._hasher.hexdigest() != self._digest.hex:
            raise altered(self._library, str(self._digest))

    def abort(self) -> None:
        """End the stream."""
        self._aborted.set()


def altered(library: Library, digest: str) -> MediumRefused:
    """Return the error for a file with other bytes than its name promises."""
    return MediumRefused(
        f"{library.name(digest)} was altered: its bytes do not have that digest; copy it again"
    )
