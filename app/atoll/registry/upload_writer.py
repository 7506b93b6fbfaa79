"""Writing of uploaded content to stores, with failover to other locations."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

from atoll.names import Digest
from atoll.registry.errors import DeletionUnresolved, DigestMismatch
from atoll.registry.upload_session import Body, Chunk, Upload
from atoll.registry.write_targets import WriteTargets
from atoll.storage.abandonment import Attempt, read_or_abandon, write_or_abandon
from atoll.storage.base import ObjectStore, blob_key
from atoll.storage.errors import NoHealthyStore, StoreTimeout, StoreUnavailable
from atoll.storage.locations import Locations
from atoll.storage.multipart import PartsWriter, put_file, reopened

log = logging.getLogger(__name__)


class UploadWriter:
    """Writes chunks and whole blobs at the nearest permitted store that accepts them.

    Args:
        locations: The stores.
        delete_later: Called with the object of an abandoned write, which may still be carried out.
    """

    def __init__(self, locations: Locations, delete_later: Callable[[Chunk], None]) -> None:
        self._locations = locations
        self._delete_later = delete_later

    def write_body(self, body: Body, upload: Upload, digest: Digest, *, first: bool) -> Chunk:
        """Write the body of a request.

        Args:
            body: The body.
            upload: The upload that it belongs to.
            digest: The digest of the body.
            first: Whether it is the first chunk, which is written to its content address.

        Raises:
            NoHealthyStore: No permitted store accepted the body.
            DeletionUnresolved: The only available stores have an unresolved deletion of it.
        """
        targets = self._targets(upload)
        while True:
            location = _choose(targets, upload, digest)
            chunk = Chunk(upload.new_key(digest, first=first), str(digest), body.size, location)
            try:
                self._write_body_at(chunk, body, targets)
            except StoreUnavailable as error:
                log.warning("write continued at another location", extra={"cause": str(error)})
                targets.fail(error)
                continue
            return chunk

    def _write_body_at(self, chunk: Chunk, body: Body, targets: WriteTargets) -> None:
        # An abandoned attempt reads the file concurrently with the next one, and after the end of
        # the request.
        file = reopened(body.file, body.size)

        def write(attempt: Attempt) -> None:
            with file:
                store = self._locations.stores[chunk.location]
                put_file(store, chunk.key, file, chunk.size, attempt.progress, md5_of=body.md5_of)

        self._write_or_abandon(write, chunk, targets)

    def write_chunks(self, upload: Upload, digest: Digest, size: int, chunks: list[Chunk]) -> Chunk:
        """Concatenate chunks into one object at the content address of a blob.

        The content is hashed, and the object becomes visible only if it has the digest.

        Raises:
            DigestMismatch: The content has another digest.
            ObjectMissing: The object of a chunk is missing.
            NoHealthyStore: No permitted store accepted the object, or a chunk cannot be read.
            DeletionUnresolved: The only available stores have an unresolved deletion of it.
        """
        targets = self._targets(upload)
        while True:
            location = _choose(targets, upload, digest)
            whole = Chunk(blob_key(digest), str(digest), size, location)
            try:
                self._write_chunks_at(whole, digest, chunks, targets)
            except StoreUnavailable as error:
                if error.location != location:
                    # The store of a chunk failed, and there is no other copy of the chunk.
                    raise
                log.warning("write continued at another location", extra={"cause": str(error)})
                targets.fail(error)
                continue
            return whole

    def _write_chunks_at(
        self, whole: Chunk, digest: Digest, chunks: list[Chunk], targets: WriteTargets
    ) -> None:
        def write(attempt: Attempt) -> None:
            hasher = digest.hasher()
            store = self._locations.stores[whole.location]
            with PartsWriter(store, whole.key, whole.size, attempt.progress) as writer:
                for piece in self._read_chunks(chunks):
                    if attempt.abandoned:
                        raise StoreTimeout(whole.location, "the write was abandoned")
                    hasher.update(piece)
                    writer.write(piece)
                if hasher.hexdigest() != digest.hex:
                    raise DigestMismatch(f"the uploaded content does not have the digest {digest}")
                writer.finish()

        self._write_or_abandon(write, whole, targets)

    def _read_chunks(self, chunks: list[Chunk]) -> Iterator[bytes]:
        for chunk in chunks:
            yield from read_or_abandon(self._locations.health, self._store_of(chunk), chunk.key)

    def _store_of(self, chunk: Chunk) -> ObjectStore:
        try:
            return self._locations.stores[chunk.location]
        except KeyError:
            # Another site, which has a different bundle, wrote the chunk there.
            raise NoHealthyStore([chunk.location]) from None

    def _targets(self, upload: Upload) -> WriteTargets:
        return WriteTargets(self._locations, (*upload.excluded, *upload.uncertain))

    def _write_or_abandon(
        self, write: Callable[[Attempt], None], chunk: Chunk, targets: WriteTargets
    ) -> None:
        """Write an object; if the store hangs, delete the object in the background."""
        write_or_abandon(
            self._locations.health,
            chunk.location,
            write,
            elsewhere=lambda: targets.has_alternative(chunk.location),
            late=lambda: self._delete_later(chunk),
        )


def _choose(targets: WriteTargets, upload: Upload, digest: Digest) -> str:
    """Return the location for the next attempt."""
    try:
        return targets.choose()
    except NoHealthyStore:
        if upload.uncertain:
            raise DeletionUnresolved(digest, upload.uncertain) from None
        raise
