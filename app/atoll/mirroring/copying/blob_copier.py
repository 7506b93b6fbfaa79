"""Copy blobs of an upstream to the stores of the site, and place them in a mirror.

A blob is written to its content address while it is received and hashed; it becomes visible there
only if it has its digest. The ordinary statement for uploads places it. A blob that a store has
already, but that the mirror's robot cannot read, is received and hashed, too: only its bytes prove
that the upstream has it. It is not written again.

The bytes of small blobs are in memory. Large ones are copied by `blob_stream`, one worker at a time
for each mirror and blob. Memory is bounded by `SMALL_POOL_SIZE` and `LARGE_POOL_SIZE`.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress

from atoll.db.pool import Database, DatabaseUnavailable
from atoll.mirroring.copying.blob_records import BlobRecords, Claim
from atoll.mirroring.copying.blob_source import BlobSource, ByteStream
from atoll.mirroring.copying.blob_stream import BlobStream, Progress, Transfer
from atoll.mirroring.copying.copy_control import CopyControl
from atoll.mirroring.copying.copy_errors import ContentCollected, NotAMirror, StoreFailed
from atoll.mirroring.copying.shared_buffers import SharedBuffers
from atoll.names import Digest, RepositoryName
from atoll.placement.content_deletions import ContentDeletions
from atoll.registry.blob_mounts import BlobMounts
from atoll.registry.blobs import Blobs
from atoll.registry.errors import (
    DeletionUnresolved,
    Denied,
    RepositoryUnknown,
    UploadUnknown,
)
from atoll.registry.upload_cleanup import UploadCleanup
from atoll.registry.upload_records import UploadRecords
from atoll.registry.upload_session import Body, Chunk, Upload
from atoll.registry.uploads import Uploads
from atoll.registry.write_targets import WriteTargets
from atoll.storage.abandonment import Attempt, write_or_abandon
from atoll.storage.base import blob_key
from atoll.storage.errors import NoHealthyStore, OutcomeUnknown, StoreError, StoreUnavailable
from atoll.storage.locations import Locations
from atoll.storage.multipart import MEBIBYTE, PART_MINIMUM

log = logging.getLogger(__name__)

# The most bytes of a blob that is received before it is written.
SMALL_MAXIMUM = PART_MINIMUM
# Bytes of buffers, and those that one upstream leaves for others.
SMALL_POOL_SIZE, _SMALL_RESERVE = 40 * MEBIBYTE, 8 * MEBIBYTE
LARGE_POOL_SIZE, _LARGE_RESERVE = 64 * MEBIBYTE, 16 * MEBIBYTE
# How often a blob is written again because its object was deleted, or its store failed.
_REWRITES = 5
# Seconds between two looks at a blob that another worker copies.
_POLL_SECONDS = 1.0
_WRITERS = LARGE_POOL_SIZE // PART_MINIMUM


class BlobCopier:
    """Copies blobs to mirrors. Thread-safe."""

    def __init__(
        self,
        database: Database,
        locations: Locations,
        *,
        blobs: Blobs,
        mounts: BlobMounts,
        uploads: Uploads,
        content: ContentDeletions,
    ) -> None:
        self._database = database
        self._locations = locations
        self._blobs = blobs
        self._mounts = mounts
        self._uploads = uploads
        self._content = content
        self._records = BlobRecords(database)
        self._cleanup = UploadCleanup(UploadRecords(database), locations, content)
        self._small = SharedBuffers(SMALL_POOL_SIZE, SMALL_MAXIMUM, reserve=_SMALL_RESERVE)
        self._large = SharedBuffers(LARGE_POOL_SIZE, PART_MINIMUM, reserve=_LARGE_RESERVE)
        self._writers = ThreadPoolExecutor(_WRITERS, thread_name_prefix="mirror-part")

    def copy(
        self,
        source: BlobSource,
        name: RepositoryName,
        digest: Digest,
        size: int,
        *,
        robot: str,
        control: CopyControl,
    ) -> int:
        """Copy a blob that the robot cannot read anywhere; it is verified before it is visible.

        Args:
            source: The upstream.
            name: The mirror, bound to its id.
            digest: The blob's digest.
            size: The blob's size in bytes.
            robot: The robot of the mirror.
            control: Controls the copy.

        Returns:
            The number of bytes that were received.

        Raises:
            UpstreamError: The upstream failed, or has other bytes.
            CopyError: The blob could not be placed.
            DatabaseUnavailable: The database is unavailable.
        """
        with _converted_errors(name):
            if size <= SMALL_MAXIMUM:
                return self._copy_small(source, name, digest, size, robot=robot, control=control)
            while (claim := self._records.claim(name, digest)) is None:
                control.wait(_POLL_SECONDS)
                if self._mounts.mount_public(name, [str(digest)]):
                    return 0
            progress = Progress(self._records, claim, control)
            try:
                # Another worker, or a push, may have placed it.
                if not self._mounts.mount_public(name, [str(digest)]):
                    with source.slot(progress.waiting) as held:
                        transfer = Transfer(held, digest, size, control, progress)
                        self._place_large(transfer, name, robot)
                self._records.delete(claim)
            except BaseException:
                self._release(claim)
                raise
            return progress.fetched

    def _copy_small(
        self,
        source: BlobSource,
        name: RepositoryName,
        digest: Digest,
        size: int,
        *,
        robot: str,
        control: CopyControl,
    ) -> int:
        with ExitStack() as slot:
            held = slot.enter_context(source.slot(control.waiting))
            with self._small.buffer(held.host, size, control) as buffer:
                _receive(held.blob(digest, size), buffer, control)
                slot.close()
                if not self._mounts.grant_proven(name, digest, size):
                    upload = self._uploads.start(name, robot)
                    body = Body(io.BytesIO(memoryview(buffer)[:size]), size)
                    self._uploads.finish(upload, digest, body)
        return size

    def _release(self, claim: Claim) -> None:
        """End the lease; without the database it expires."""
        with suppress(DatabaseUnavailable):
            self._records.release(claim)

    def _place_large(self, transfer: Transfer, name: RepositoryName, robot: str) -> None:
        for _ in range(_REWRITES):
            transfer.control.check()
            if self._mounts.is_stored(transfer.digest, transfer.size):
                stream = BlobStream(transfer, None, self._large, self._writers)
                stream.run(None, lambda: None)
                if self._mounts.grant_proven(name, transfer.digest, transfer.size):
                    stream.discard_parts(self._locations.stores)
                    return
                # Deleted meanwhile; the bytes were not kept.
                transfer.progress.restart()
            elif self._write_large(transfer, name, robot):
                return
        raise StoreFailed(f"the blob {transfer.digest} could not be placed")

    def _write_large(self, transfer: Transfer, name: RepositoryName, robot: str) -> bool:
        """Write and place a blob; return whether it was placed, or must be written again."""
        upload = self._uploads.start(name, robot)
        digest, size = transfer.digest, transfer.size
        placed = False
        try:
            chunk = self._write_anywhere(transfer, upload)
            placed = (
                self._blobs.place(digest, size, chunk.location, name, upload.uuid, username=robot)
                is not None
            )
            if placed:
                return True
            # Deleted concurrently, or the location is being removed or was excluded.
            self._locations.states.refresh(self._database)
            address = self._content.renew_trust(digest, chunk.location, upload.uuid)
            if chunk.location in address.excluded:
                self._cleanup.delete_object(chunk, upload.uuid, first=True)
        except UploadUnknown:
            # The upload expired, or its repository was deleted.
            self._cleanup.delete_later(chunk)
            raise
        finally:
            if not placed:
                self._end(upload)
        transfer.progress.restart()
        return False

    def _end(self, upload: Upload) -> None:
        """Delete the record of an upload, which has no chunks."""
        with suppress(UploadUnknown, DatabaseUnavailable):
            self._uploads.cancel(upload.name, upload.uuid)

    def _write_anywhere(self, transfer: Transfer, upload: Upload) -> Chunk:
        """Write a blob at the nearest permitted store that accepts it.

        Raises:
            StoreError: No store accepted it. The received bytes are kept for the next attempt.
        """
        targets = WriteTargets(self._locations, upload.excluded)
        while True:
            location = self._location(transfer, upload, targets)
            key = blob_key(transfer.digest)
            chunk = Chunk(key, str(transfer.digest), transfer.size, location)
            try:
                self._write_at(transfer, upload, chunk, targets)
            except OutcomeUnknown:
                # The object may exist or appear later: the next attempt reads it.
                raise
            except StoreUnavailable as error:
                if error.location != location or not targets.has_alternative(location):
                    raise
                log.warning("write continued at another location", extra={"cause": str(error)})
                targets.fail(error)
                transfer.progress.restart()
                continue
            return chunk

    def _location(self, transfer: Transfer, upload: Upload, targets: WriteTargets) -> str:
        """Return where to continue, or the location for a new attempt."""
        begun = transfer.progress.checkpoint.location
        if begun is not None:
            if (
                begun in self._locations.stores
                and begun not in upload.excluded
                and self._locations.health.is_writable(begun)
                and self._locations.states.writable(begun)
            ):
                return begun
            transfer.progress.restart()
        while True:
            location = targets.choose()
            if not self._is_uncertain(transfer, upload, location):
                return location
            targets.fail(StoreUnavailable(location, "an earlier deletion is unresolved"))

    def _is_uncertain(self, transfer: Transfer, upload: Upload, location: str) -> bool:
        """Return whether an object that is written now may still be deleted, or is not allowed."""
        address = self._content.renew_trust(transfer.digest, location, upload.uuid)
        return address.uncertain or location in address.excluded

    def _write_at(
        self, transfer: Transfer, upload: Upload, chunk: Chunk, targets: WriteTargets
    ) -> None:
        store = self._locations.stores[chunk.location]

        def confirm() -> None:
            if self._is_uncertain(transfer, upload, chunk.location):
                raise StoreUnavailable(chunk.location, "an earlier deletion is unresolved")

        def write(attempt: Attempt) -> None:
            BlobStream(transfer, store, self._large, self._writers).run(attempt, confirm)

        write_or_abandon(
            self._locations.health,
            chunk.location,
            write,
            elsewhere=lambda: targets.has_alternative(chunk.location),
            late=lambda: self._cleanup.delete_later(chunk),
        )


def _receive(download: ByteStream, buffer: bytearray, control: CopyControl) -> None:
    """Fill the beginning of a buffer with a whole blob."""
    length = 0
    with control.transfer(download):
        for piece in download.pieces():
            buffer[length : length + len(piece)] = piece
            length += len(piece)
            control.progress(len(piece))


@contextmanager
def _converted_errors(name: RepositoryName) -> Iterator[None]:
    """Convert errors of the registry and of stores to CopyError."""
    try:
        yield
    except (Denied, RepositoryUnknown) as error:
        raise NotAMirror(f"the robot may not push to '{name}'") from error
    except UploadUnknown as error:
        raise ContentCollected(f"an upload to '{name}' ended before its blob was placed") from error
    except NoHealthyStore as error:
        raise StoreFailed(str(error)) from error
    except (StoreError, DeletionUnresolved) as error:
        raise StoreFailed(f"a blob could not be written: {error}") from error
