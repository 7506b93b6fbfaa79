"""Uploads of blobs, which any instance of any site can continue.

The body of a request is in a file before it is written to a store, so its digest is known. The
first chunk is written to its content address: if it is the whole blob, as podman, docker and skopeo
send it, nothing is copied afterwards. Other chunks are stored below `uploads/` until the last one;
then the blob is concatenated, hashed and written once more.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from uuid import UUID, uuid4

from atoll.config import Bundle
from atoll.db.pool import Database
from atoll.names import Digest, RepositoryName
from atoll.placement.content_deletions import ContentDeletions
from atoll.registry import upload_records
from atoll.registry.blobs import Blobs
from atoll.registry.errors import (
    Denied,
    DigestMismatch,
    RangeOutOfOrder,
    SizeInvalid,
    UploadUnknown,
)
from atoll.registry.expiry_label import expires_after
from atoll.registry.prepared_uploads import NO_PREPARATION, PreparedUploads
from atoll.registry.repositories import Repositories
from atoll.registry.upload_cleanup import UploadCleanup
from atoll.registry.upload_records import UploadRecords
from atoll.registry.upload_session import Body, Chunk, Upload
from atoll.registry.upload_writer import UploadWriter
from atoll.storage.errors import NoHealthyStore, ObjectMissing
from atoll.storage.locations import Locations

log = logging.getLogger(__name__)

# How often an object is written again because it was deleted concurrently.
_REWRITES = 5


class Uploads:
    """The uploads to all repositories."""

    def __init__(
        self,
        database: Database,
        locations: Locations,
        blobs: Blobs,
        content: ContentDeletions,
        repositories: Repositories,
        *,
        bundle: Bundle,
    ) -> None:
        self._database = database
        self._locations = locations
        self._blobs = blobs
        self._content = content
        self._repositories = repositories
        self._expiry_minutes = bundle.blobupload_deletion_date_threshold
        self._records = UploadRecords(database)
        self._prepared = PreparedUploads() if bundle.feature_tag_cache else None
        self._cleanup = UploadCleanup(self._records, locations, content)
        self._writer = UploadWriter(locations, self._cleanup.delete_later)

    def start(self, name: RepositoryName, username: str | None) -> Upload:
        """Start an upload, and create the repository if necessary.

        With FEATURE_TAG_CACHE, the first upload of a push takes a round trip, and the next ones do
        not. Those can be started for a few seconds after the repository became read-only or was
        deleted, and cannot be finished.

        Raises:
            Denied: The repository is read-only, or may not be created.
        """
        prepared = self._prepared.take(name, username) if self._prepared else None
        if prepared is not None:
            return Upload(name, prepared.uuid, 0, prepared.excluded, username=username)
        upload = Upload(name, uuid4(), 0, username=username)
        excluded = self._records.start(upload, username)
        if excluded is None:
            upload = replace(upload, name=self._repositories.create_for_push(username, name))
            excluded = self._records.start(upload, username)
        return replace(upload, excluded=excluded or ())

    def find(self, name: RepositoryName, uuid: UUID) -> Upload:
        """Return the state of an upload.

        Raises:
            UploadUnknown: The upload does not exist, has ended, or belongs to another repository.
        """
        status = self._records.status(Upload(name, uuid, 0))
        return Upload(name, uuid, status.size, status.excluded)

    def append(self, upload: Upload, body: Body) -> Upload:
        """Append a chunk at the upload's offset. After an error, nothing was appended.

        Raises:
            UploadUnknown: The upload does not exist, has ended, or belongs to another repository.
            RangeOutOfOrder: The upload has another offset.
            SizeInvalid: The body is incomplete, or the upload has too many chunks.
            NoHealthyStore: No store accepted the chunk.
        """
        if body.size == 0:
            return self.find(upload.name, upload.uuid)
        hasher = Digest.parse(f"sha256:{'0' * 64}").hasher()
        digest = body.digest(hasher, "sha256")
        first = upload.offset == 0
        expiry = expires_after(body.file, body.size) if first else None
        for _ in range(_REWRITES):
            chunk = self._writer.write_body(body, upload, digest, first=first)
            if self._records.append(upload, chunk, expiry, first=first):
                offset = upload.offset + body.size
                return replace(upload, offset=offset, only_chunk=chunk if first else None)
            self._raise_if_outdated(upload, chunk)
            upload = self._prepare_rewrite(upload, chunk, first=first)
        raise NoHealthyStore([chunk.location])

    def finish(self, upload: Upload, digest: Digest, body: Body) -> int:
        """Append the last part of an upload, place the blob, and return its size in bytes.

        Raises:
            DigestMismatch: The content has another digest. The upload ends.
            Denied: The repository is read-only, or a mirror that another user changes. The upload
                is unchanged.
            UploadUnknown, RangeOutOfOrder, SizeInvalid, NoHealthyStore: As in `append`. The upload
                is unchanged.
        """
        if upload.offset == 0 and body.size:
            return self._finish_in_one_request(upload, digest, body)
        if body.size:
            upload = self.append(upload, body)
        if self._place_only_chunk(upload, digest):
            return upload.offset
        status = self._records.status(upload)
        upload = replace(upload, excluded=status.excluded)
        if status.size != upload.offset:
            raise RangeOutOfOrder(status.size)
        if upload.only_chunk is None and len(status.chunks) == 1:
            upload = replace(upload, only_chunk=status.chunks[0])
            if self._place_only_chunk(upload, digest):
                return status.size
        if len(status.chunks) == 1 and status.chunks[0].digest == str(digest):
            # Its location is being removed or was excluded: copy the object to another one.
            self._locations.states.refresh(self._database)
        try:
            self._finish_chunks(upload, digest, status.size, status.chunks)
        except ObjectMissing as error:
            raise UploadUnknown(
                f"upload {upload.uuid} lost its object; restart the upload"
            ) from error
        return status.size

    def cancel(self, name: RepositoryName, uuid: UUID) -> None:
        """End an upload and delete its content.

        Raises:
            UploadUnknown: The upload does not exist, has ended, or belongs to another repository.
        """
        self._records.end(Upload(name, uuid, 0))
        self._cleanup.end(uuid)

    def delete_leftovers(self) -> int:
        """Delete a batch of ended and abandoned uploads with objects at available stores.

        Returns:
            The number of uploads whose objects were all deleted.
        """
        return self._cleanup.delete_leftovers(self._expiry_minutes)

    def _place_only_chunk(self, upload: Upload, digest: Digest) -> bool:
        """Place the only chunk of an upload as a blob, and return whether that was possible.

        It is refused if the upload has other chunks by now.
        """
        chunk = upload.only_chunk
        return (
            chunk is not None
            and chunk.digest == str(digest)
            and self._place_object(chunk, upload, recorded=chunk.size)
        )

    def _finish_in_one_request(self, upload: Upload, digest: Digest, body: Body) -> int:
        """Finish an upload whose last request has the whole blob; it is verified before writing.

        Raises:
            RangeOutOfOrder: The upload has chunks, so the client's state is outdated.
        """
        if body.digest(digest.hasher(), digest.algorithm) != digest:
            self.cancel(upload.name, upload.uuid)
            raise DigestMismatch(f"the uploaded content does not have the digest {digest}")
        for _ in range(_REWRITES):
            whole = self._writer.write_body(body, upload, digest, first=True)
            expiry = expires_after(body.file, body.size)
            if self._place(whole, upload, expiry, recorded=0):
                return body.size
            self._raise_if_outdated(upload, whole)
            upload = self._prepare_rewrite(upload, whole, first=True)
        raise NoHealthyStore([whole.location])

    def _finish_chunks(
        self, upload: Upload, digest: Digest, size: int, chunks: list[Chunk]
    ) -> None:
        """Finish an upload by concatenating its chunks."""
        for _ in range(_REWRITES):
            try:
                whole = self._writer.write_chunks(upload, digest, size, chunks)
            except DigestMismatch:
                self.cancel(upload.name, upload.uuid)
                raise
            if self._place(whole, upload, None):
                self._cleanup.end(upload.uuid)
                return
            upload = self._prepare_rewrite(upload, whole, first=True)
        raise NoHealthyStore([whole.location])

    def _place(
        self, whole: Chunk, upload: Upload, expiry: int | None, *, recorded: int | None = None
    ) -> bool:
        """Place an object as a blob; delete it if that is refused."""
        try:
            return self._place_object(whole, upload, expiry, recorded=recorded)
        except (UploadUnknown, Denied):
            self._cleanup.delete_object(whole, upload.uuid, first=True)
            raise

    def _place_object(
        self,
        whole: Chunk,
        upload: Upload,
        expiry: int | None = None,
        *,
        recorded: int | None = None,
    ) -> bool:
        """Place an object as a blob; with FEATURE_TAG_CACHE, record the user's next upload."""
        name, username = upload.name, upload.username
        prepared = self._prepared
        preparation = prepared.preparation(name, username) if prepared else NO_PREPARATION
        placed = self._blobs.place(
            Digest.parse(whole.digest),
            whole.size,
            whole.location,
            name,
            upload.uuid,
            username=username,
            expires_after=expiry,
            recorded=recorded,
            preparation=preparation,
        )
        if prepared and placed and preparation.uuid:
            prepared.keep(name, username, preparation.uuid, placed.excluded)
        return placed is not None

    def _prepare_rewrite(self, upload: Upload, chunk: Chunk, *, first: bool) -> Upload:
        """Return the upload for another attempt after a chunk could not be placed or recorded.

        A chunk at a location that the policy has excluded is deleted. If an earlier deletion may
        still hit the chunk, its location is avoided, and the chunk is deleted in the background.
        """
        # The location may be draining or removed without this process having noticed yet.
        self._locations.states.refresh(self._database)
        digest = Digest.parse(chunk.digest)
        address = self._content.renew_trust(digest, chunk.location, upload.uuid)
        upload = replace(upload, excluded=address.excluded)
        if chunk.location in address.excluded:
            self._cleanup.delete_object(chunk, upload.uuid, first=first)
        elif first and address.uncertain:
            fields = {"digest": chunk.digest, "location": chunk.location}
            log.warning("deletion unresolved, writing to another location", extra=fields)
            self._cleanup.delete_later(chunk)
            upload = replace(upload, uncertain=(*upload.uncertain, chunk.location))
        return upload

    def _raise_if_outdated(self, upload: Upload, chunk: Chunk) -> None:
        """Delete a chunk and raise, if the upload has ended or its state differs from the client's.

        Raises:
            UploadUnknown: The upload has ended.
            RangeOutOfOrder: The upload has another offset.
            SizeInvalid: The upload has too many chunks.
        """
        try:
            status = self._records.status(upload)
            failure: Exception = RangeOutOfOrder(status.size)
            if len(status.chunks) >= upload_records.CHUNKS_MAXIMUM:
                failure = SizeInvalid(
                    f"the upload has the maximum of {upload_records.CHUNKS_MAXIMUM} chunks; push"
                    " the blob again in larger chunks"
                )
            elif status.size == upload.offset:
                return
        except UploadUnknown as error:
            failure = error
        # The reference of the upload is respected: the client may have sent a chunk twice.
        self._cleanup.delete_object(chunk, None, first=upload.offset == 0)
        raise failure
