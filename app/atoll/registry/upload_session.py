"""The state of an upload, its chunks, and the bodies of its requests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO
from uuid import UUID, uuid4

from atoll.names import Digest, Hash, RepositoryName
from atoll.registry.body_hashes import BodyHashes
from atoll.registry.errors import SizeInvalid
from atoll.storage.base import blob_key

_READ_PIECE = 1024 * 1024
# Prefix of the keys of chunks that are not stored at a content address.
_UPLOADS = "uploads/"


@dataclass(frozen=True)
class Body:
    """The body of a request.

    Attributes:
        file: A file that can be read repeatedly.
        size: The size in bytes.
        hashes: Hashes that were computed while the body was received.
    """

    file: BinaryIO
    size: int
    hashes: BodyHashes | None = None

    def pieces(self, start: int = 0) -> Iterator[bytes]:
        """Yield the body from a position.

        Raises:
            SizeInvalid: The file is shorter than the size.
        """
        self.file.seek(start)
        remaining = self.size - start
        while remaining:
            piece = self.file.read(min(_READ_PIECE, remaining))
            if not piece:
                raise SizeInvalid(f"{remaining} of {self.size} bytes did not arrive")
            remaining -= len(piece)
            yield piece

    def digest(self, hasher: Hash, algorithm: str) -> Digest:
        """Return the digest of the body.

        Raises:
            SizeInvalid: The file is shorter than the size.
        """
        if self.hashes is not None and algorithm == "sha256":
            return Digest(algorithm, self.hashes.finish(self.pieces))
        for piece in self.pieces():
            hasher.update(piece)
        return Digest(algorithm, hasher.hexdigest())

    def md5_of(self, start: int, size: int) -> str | None:
        """Return the MD5 of a part of the body, None if it is not known."""
        if self.hashes is None:
            return None
        self.hashes.finish(self.pieces)
        return self.hashes.md5_of(start, size)


@dataclass(frozen=True)
class Chunk:
    """An object that an upload wrote: one of its chunks, or the whole blob.

    Attributes:
        key: The object's key in its store.
        digest: The digest of the content.
        size: The size in bytes.
        location: The object's location.
    """

    key: str
    digest: str
    size: int
    location: str

    @property
    def at_content_address(self) -> bool:
        """Whether other uploads and blobs may share the object."""
        return not self.key.startswith(_UPLOADS)


@dataclass(frozen=True)
class Upload:
    """An upload in progress.

    Attributes:
        name: The repository.
        uuid: The upload's id.
        offset: The number of bytes received.
        excluded: The locations that the repository's policy excludes, as last read.
        uncertain: The locations where an earlier deletion of the same content has an unknown
            outcome.
        username: The user of the current request; None for anonymous clients.
        only_chunk: The chunk that is all of the upload so far, at its content address. None if
            there is none, or if the client did not send its state.
    """

    name: RepositoryName
    uuid: UUID
    offset: int
    excluded: tuple[str, ...] = ()
    uncertain: tuple[str, ...] = ()
    username: str | None = None
    only_chunk: Chunk | None = None

    def new_key(self, digest: Digest, *, first: bool) -> str:
        """Return the key for an attempt to write a chunk.

        The first chunk is written to its content address. Other chunks get a new key for each
        attempt, because an abandoned write, and the deletion of its object, may happen later.
        """
        return blob_key(digest) if first else f"{_UPLOADS}{self.uuid}/{uuid4()}"
