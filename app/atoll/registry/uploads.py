"""Uploads: a session that any instance of any site can go on with.

A chunk is here as a whole, in a file, before it goes to a store, so its digest is known. The first
chunk is written to the content address of its digest: where it is the whole blob, as podman, docker
and skopeo send it, nothing is copied again. Other chunks lie below `uploads/` until the last one;
then the blob is put together, hashed and written once more.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, BinaryIO
from uuid import UUID, uuid4

from atoll.config import Bundle
from atoll.db.pool import Database
from atoll.names import Digest, Hash, RepositoryName
from atoll.placement.content_deletions import DELETED_SINCE, ContentDeletions
from atoll.placement.locks import LOCK_DIGEST_SHARED
from atoll.placement.rules import excluded_in
from atoll.registry.blobs import Blobs
from atoll.registry.errors import (
    DeletionUnresolved,
    DigestMismatch,
    RangeOutOfOrder,
    SizeInvalid,
    UploadUnknown,
)
from atoll.registry.expiry_label import expires_after
from atoll.registry.repositories import REPOSITORY_ID, WRITABLE, Repositories, name_parameters
from atoll.registry.write_targets import WriteTargets
from atoll.storage.abandonment import Attempt, read_or_abandon, write_or_abandon
from atoll.storage.base import ObjectStore, blob_key
from atoll.storage.errors import (
    NoHealthyStore,
    ObjectMissing,
    StoreError,
    StoreSilent,
    StoreUnavailable,
)
from atoll.storage.locations import Locations
from atoll.storage.multipart import PartsWriter, put_file, reopened

log = logging.getLogger(__name__)

_READ_PIECE = 1024 * 1024
# The beginning of the keys of chunks that are not at a content address.
_UPLOADS = "uploads/"
# How often an object is written again because somebody took the same one away at that moment.
_REWRITES = 5
# Chunks of one upload. Each rewrites the list of all before it, so that bounds what an upload
# writes to the database's log.
CHUNKS_MAXIMUM = 10_000

_START = f"""
INSERT INTO blobupload (uuid, repository_id)
SELECT %(uuid)s, repository.id FROM (SELECT {REPOSITORY_ID} AS id) AS repository
WHERE {WRITABLE.format(id="repository.id")} RETURNING {excluded_in("blobupload.repository_id")}
"""

_STATUS = f"""
SELECT u.byte_count, u.chunks, {excluded_in("u.repository_id")} FROM blobupload u
WHERE u.uuid = %(uuid)s AND NOT u.ended AND u.repository_id = {REPOSITORY_ID}
"""

_RECORD = f"""
{LOCK_DIGEST_SHARED}
UPDATE blobupload u
SET byte_count = u.byte_count + %(size)s, chunks = u.chunks || %(chunk)s::jsonb,
    first_digest = coalesce(u.first_digest, %(first_digest)s),
    first_location = coalesce(u.first_location, %(first_location)s),
    expires_after_s = coalesce(u.expires_after_s, %(expires_after)s::bigint),
    changed_at = clock_timestamp()
WHERE u.uuid = %(uuid)s AND NOT u.ended AND u.repository_id = {REPOSITORY_ID}
  AND u.byte_count = %(offset)s AND jsonb_array_length(u.chunks) < %(chunks_maximum)s
  AND NOT (%(first)s AND {DELETED_SINCE})
  AND (%(location)s = ANY({excluded_in("u.repository_id")})) IS NOT TRUE
RETURNING u.byte_count
"""

_END = f"""
UPDATE blobupload u SET ended = true
WHERE u.uuid = %(uuid)s AND NOT u.ended AND u.repository_id = {REPOSITORY_ID} RETURNING u.uuid
"""

# As the row of an ended upload, which the background clears.
_LEAVE_BEHIND = """
INSERT INTO blobupload (uuid, chunks, ended) VALUES (%(uuid)s, %(chunks)s, true)
"""

# Minutes after which a failed deletion is tried again, at most.
_BACKOFF_MAXIMUM_MINUTES = 60
# Uploads that one round clears.
LEFTOVERS = 100

# Uploads with objects at an unavailable location are left out, so that they delay no others. A
# location that does not exist any more has no objects.
_LEFTOVERS = f"""
SELECT u.uuid FROM blobupload u
WHERE ((u.ended OR u.repository_id IS NULL) AND u.changed_at < clock_timestamp()
        - make_interval(mins => least(power(2, u.attempts), {_BACKOFF_MAXIMUM_MINUTES})::int)
    OR u.changed_at < clock_timestamp() - make_interval(mins => %(minutes)s))
  AND NOT EXISTS (
    SELECT FROM jsonb_array_elements(u.chunks) AS chunk
    JOIN imagestoragelocation l ON l.name = chunk ->> 'location'
    WHERE l.name <> ALL(%(available)s))
ORDER BY u.changed_at LIMIT {LEFTOVERS}
"""

_END_FOR_GOOD = """
UPDATE blobupload SET ended = true WHERE uuid = %(uuid)s
RETURNING chunks, array(SELECT name FROM imagestoragelocation)
"""

# What could not be deleted yet. An object that is gone is not kept from others any more.
_KEEP_LEFTOVERS = """
UPDATE blobupload SET chunks = %(chunks)s, attempts = least(attempts + 1, 10),
    first_digest = CASE WHEN %(first)s THEN first_digest END,
    first_location = CASE WHEN %(first)s THEN first_location END,
    changed_at = clock_timestamp()
WHERE uuid = %(uuid)s AND ended
"""


@dataclass(frozen=True)
class Body:
    """What a client sent in one request: a file that can be read again, and its length."""

    file: BinaryIO
    size: int

    def read_again(self) -> Iterator[bytes]:
        """Yield all of it from the beginning. Raises SizeInvalid if some of it is missing."""
        self.file.seek(0)
        remaining = self.size
        while remaining:
            piece = self.file.read(min(_READ_PIECE, remaining))
            if not piece:
                raise SizeInvalid(f"{remaining} of {self.size} bytes did not arrive")
            remaining -= len(piece)
            yield piece

    def digest(self, hasher: Hash, algorithm: str) -> Digest:
        """Return the digest of all of it."""
        for piece in self.read_again():
            hasher.update(piece)
        return Digest(algorithm, hasher.hexdigest())


@dataclass(frozen=True)
class Chunk:
    """A part of an upload, as it lies in a store."""

    key: str
    digest: str
    size: int
    location: str


@dataclass(frozen=True)
class Upload:
    """An upload under way: the repository that it is for, its id, and how far it is in bytes.

    EXCLUDED are the locations where the repository's blobs may not be, as it was last known.
    UNCERTAIN are those where an earlier deletion of the same bytes may still be carried out.
    """

    name: RepositoryName
    uuid: UUID
    offset: int
    excluded: tuple[str, ...] = ()
    uncertain: tuple[str, ...] = ()


class Uploads:
    """All uploads."""

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

    def start(self, name: RepositoryName, username: str | None) -> Upload:
        """Begin an upload; makes the repository if there is none. Raises Denied."""
        upload = Upload(name, uuid4(), 0)
        started = self._database.run(_START, self._parameters(upload))
        if not started:
            upload = replace(upload, name=self._repositories.create_for_push(username, name))
            started = self._database.run(_START, self._parameters(upload))
        return replace(upload, excluded=_excluded(started))

    def find(self, name: RepositoryName, uuid: UUID) -> Upload:
        """Return an upload as it stands, or raise UploadUnknown."""
        size, _, excluded = self._status(Upload(name, uuid, 0))
        return Upload(name, uuid, size, excluded)

    def append(self, upload: Upload, body: Body) -> Upload:
        """Add a chunk at the upload's offset.

        Raises UploadUnknown, RangeOutOfOrder, SizeInvalid or NoHealthyStore; nothing is added then.
        """
        if body.size == 0:
            return self.find(upload.name, upload.uuid)
        hasher = Digest.parse(f"sha256:{'0' * 64}").hasher()
        digest = body.digest(hasher, "sha256")
        first = upload.offset == 0
        expiry = expires_after(body.file, body.size) if first else None
        for _ in range(_REWRITES):
            chunk = self._write(body, upload, digest, first=first)
            if self._record(upload, chunk, expiry, first=first):
                return replace(upload, offset=upload.offset + body.size)
            self._why_not_recorded(upload, chunk)
            upload = self._begin_anew(upload, chunk, first=first)
        raise NoHealthyStore([chunk.location])

    def finish(self, upload: Upload, digest: Digest, body: Body) -> int:
        """Make the upload, with BODY as its last part, the blob DIGEST; return the blob's size.

        Raises DigestMismatch, which ends the upload and leaves nothing behind; or what `append`
        raises, which leaves the upload as it was.
        """
        if upload.offset == 0 and body.size:
            return self._finish_whole(upload, digest, body)
        if body.size:
            upload = self.append(upload, body)
        size, chunks, excluded = self._status(upload)
        upload = replace(upload, excluded=excluded)
        if size != upload.offset:
            raise RangeOutOfOrder(size)
        if len(chunks) == 1 and chunks[0].digest == str(digest):
            location = chunks[0].location
            if self._blobs.place(digest, size, location, upload.name, upload.uuid):
                return size
            # Its location is being removed, or excluded by now: the object is copied elsewhere.
            self._locations.states.refresh(self._database)
        try:
            self._finish_chunks(upload, digest, size, chunks)
        except ObjectMissing as error:
            raise UploadUnknown(
                f"upload {upload.uuid} lost its object; restart the upload"
            ) from error
        return size

    def cancel(self, name: RepositoryName, uuid: UUID) -> None:
        """End an upload and throw away what came. Raises UploadUnknown."""
        upload = Upload(name, uuid, 0)
        if not self._database.run(_END, self._parameters(upload)):
            raise UploadUnknown(f"'{name}' has no upload {uuid}")
        self._clear_away_or_leave(uuid)

    def clear_away_leftovers(self) -> int:
        """Delete objects of abandoned and ended uploads at available stores.

        Returns:
            How many uploads were cleared, at most LEFTOVERS.
        """
        health = self._locations.health
        parameters = {
            "minutes": self._expiry_minutes,
            "available": [name for name in self._locations.stores if health.is_up(name)],
        }
        uuids = [row[0] for row in self._database.run(_LEFTOVERS, parameters)]
        cleared = sum(self._clear_away_or_leave(uuid) for uuid in uuids)
        self._content.purge_records(2 * self._expiry_minutes)
        return cleared

    def _finish_whole(self, upload: Upload, digest: Digest, body: Body) -> int:
        """Finish an upload that came with its last request: nothing wrong is written at all.

        Raises RangeOutOfOrder if the upload has chunks, so that the client's state is outdated.
        """
        if body.digest(digest.hasher(), digest.algorithm) != digest:
            self._end_with_mismatch(upload, digest)
        for _ in range(_REWRITES):
            whole = self._write(body, upload, digest, first=True)
            expiry = expires_after(body.file, body.size)
            if self._place_written(whole, upload, expiry, in_one_request=True):
                return body.size
            self._why_not_recorded(upload, whole)
            upload = self._begin_anew(upload, whole, first=True)
        raise NoHealthyStore([whole.location])

    def _finish_chunks(
        self, upload: Upload, digest: Digest, size: int, chunks: list[Chunk]
    ) -> None:
        """Put the chunks together to one object, hashing it; only a right one becomes visible."""
        for _ in range(_REWRITES):
            whole = self._write_chunks(upload, digest, size, chunks)
            if self._place_written(whole, upload, None):
                self._clear_away_or_leave(upload.uuid)
                return
            upload = self._begin_anew(upload, whole, first=True)
        raise NoHealthyStore([whole.location])

    def _write_chunks(
        self, upload: Upload, digest: Digest, size: int, chunks: list[Chunk]
    ) -> Chunk:
        """Write the chunks as one object at the nearest allowed store that accepts it."""
        targets = self._targets(upload)
        while True:
            location = self._choose(targets, upload, digest)
            whole = Chunk(blob_key(digest), str(digest), size, location)
            try:
                self._write_chunks_at(whole, upload, digest, chunks, targets)
            except StoreUnavailable as error:
                if error.location != location:
                    # It is a chunk that cannot be read, and there is no other copy of it.
                    raise
                log.warning("write continued at another location", extra={"cause": str(error)})
                targets.fail(error)
                continue
            return whole

    def _write_chunks_at(
        self,
        whole: Chunk,
        upload: Upload,
        digest: Digest,
        chunks: list[Chunk],
        targets: WriteTargets,
    ) -> None:
        """Write the chunks as the object WHOLE; DigestMismatch ends the upload."""

        def write(attempt: Attempt) -> None:
            hasher = digest.hasher()
            store = self._locations.stores[whole.location]
            with PartsWriter(store, whole.key, whole.size, attempt.progress) as writer:
                for piece in self._read_chunks(chunks):
                    if attempt.abandoned:
                        raise StoreSilent(whole.location, "the write was abandoned")
                    hasher.update(piece)
                    writer.write(piece)
                if hasher.hexdigest() != digest.hex:
                    self._end_with_mismatch(upload, digest)
                writer.finish()

        self._write_or_abandon(write, whole, targets)

    def _read_chunks(self, chunks: list[Chunk]) -> Iterator[bytes]:
        """Yield the bytes of CHUNKS. Raises StoreSilent where a chunk's store hangs."""
        for chunk in chunks:
            yield from read_or_abandon(self._locations.health, self._store_of(chunk), chunk.key)

    def _begin_anew(self, upload: Upload, chunk: Chunk, *, first: bool) -> Upload:
        """Return the upload for another attempt after CHUNK could not be placed or recorded.

        A chunk at a location that the policy excludes by now is deleted. One that an earlier
        deletion may still hit is written elsewhere, and deleted in the background.
        """
        # The location may be draining or removed without this process having noticed yet.
        self._locations.states.refresh(self._database)
        digest = Digest.parse(chunk.digest)
        address = self._content.renew_trust(digest, chunk.location, upload.uuid)
        upload = replace(upload, excluded=address.excluded)
        if chunk.location in address.excluded:
            self._throw_away(chunk, upload.uuid, first=first)
        elif first and address.uncertain:
            fields = {"digest": chunk.digest, "location": chunk.location}
            log.warning("deletion unresolved; writing to another location", extra=fields)
            self._leave_behind(chunk)
            upload = replace(upload, uncertain=(*upload.uncertain, chunk.location))
        return upload

    def _store_of(self, chunk: Chunk) -> ObjectStore:
        try:
            return self._locations.stores[chunk.location]
        except KeyError:
            # Another site, with a newer bundle than ours or an older one, wrote it there.
            raise NoHealthyStore([chunk.location]) from None

    def _place_written(
        self, whole: Chunk, upload: Upload, expiry: int | None, *, in_one_request: bool = False
    ) -> bool:
        """Place the object WHOLE; if the upload ended before, delete it and raise UploadUnknown."""
        digest = Digest.parse(whole.digest)
        try:
            return self._blobs.place(
                digest,
                whole.size,
                whole.location,
                upload.name,
                upload.uuid,
                expires_after=expiry,
                whole=in_one_request,
            )
        except UploadUnknown:
            self._throw_away(whole, upload.uuid, first=True)
            raise

    def _end_with_mismatch(self, upload: Upload, digest: Digest) -> None:
        self.cancel(upload.name, upload.uuid)
        raise DigestMismatch(f"what was uploaded is not {digest}")

    def _targets(self, upload: Upload) -> WriteTargets:
        return WriteTargets(self._locations, (*upload.excluded, *upload.uncertain))

    def _choose(self, targets: WriteTargets, upload: Upload, digest: Digest) -> str:
        """Return where to write DIGEST. Raises NoHealthyStore or DeletionUnresolved."""
        try:
            return targets.choose()
        except NoHealthyStore:
            if upload.uncertain:
                raise DeletionUnresolved(digest, upload.uncertain) from None
            raise

    def _write(self, body: Body, upload: Upload, digest: Digest, *, first: bool) -> Chunk:
        """Write BODY at the nearest allowed store that accepts it; FIRST: at its content address.

        An abandoned write may be carried out, and its object deleted, at any later time. So each
        attempt at a chunk that is not FIRST has a key of its own.
        """
        targets = self._targets(upload)
        while True:
            location = self._choose(targets, upload, digest)
            key = blob_key(digest) if first else f"{_UPLOADS}{upload.uuid}/{uuid4()}"
            chunk = Chunk(key, str(digest), body.size, location)
            try:
                self._write_at(chunk, body, targets)
            except StoreUnavailable as error:
                log.warning("write continued at another location", extra={"cause": str(error)})
                targets.fail(error)
                continue
            return chunk

    def _write_at(self, chunk: Chunk, body: Body, targets: WriteTargets) -> None:
        """Write CHUNK, which is BODY. Raises StoreUnavailable, also where the store hangs."""
        # An abandoned attempt still reads it, beside the next one and after the request has ended.
        file = reopened(body.file, body.size)

        def write(attempt: Attempt) -> None:
            with file:
                store = self._locations.stores[chunk.location]
                put_file(store, chunk.key, file, chunk.size, attempt.progress)

        self._write_or_abandon(write, chunk, targets)

    def _write_or_abandon(
        self, write: Callable[[Attempt], None], chunk: Chunk, targets: WriteTargets
    ) -> None:
        """Write CHUNK; if its store hangs, have what becomes of it deleted in the background."""
        write_or_abandon(
            self._locations.health,
            chunk.location,
            write,
            elsewhere=lambda: targets.has_alternative(chunk.location),
            late=lambda: self._leave_behind(chunk),
        )

    def _record(self, upload: Upload, chunk: Chunk, expiry: int | None, *, first: bool) -> bool:
        rows = self._database.run(
            _RECORD,
            {
                **self._parameters(upload),
                "offset": upload.offset,
                "chunks_maximum": CHUNKS_MAXIMUM,
                "first": first,
                "expires_after": expiry,
                "digest": chunk.digest,
                "location": chunk.location,
                "size": chunk.size,
                "chunk": json.dumps([vars(chunk)]),
                "first_digest": chunk.digest if first else None,
                "first_location": chunk.location if first else None,
            },
        )
        return bool(rows)

    def _why_not_recorded(self, upload: Upload, chunk: Chunk) -> None:
        """Raise if the upload ended or is elsewhere than the client believes; clear away first."""
        try:
            size, chunks, _ = self._status(upload)
            failure: Exception = RangeOutOfOrder(size)
            if len(chunks) >= CHUNKS_MAXIMUM:
                failure = SizeInvalid(
                    f"the upload has {CHUNKS_MAXIMUM} chunks, the most that one may have;"
                    " push the blob again in larger chunks"
                )
            elif size == upload.offset:
                return
        except UploadUnknown as error:
            failure = error
        # Perhaps a chunk that was sent again: then the upload itself counts on the same object.
        self._throw_away(chunk, None, first=upload.offset == 0)
        raise failure

    def _throw_away(self, chunk: Chunk, uuid: UUID | None, *, first: bool) -> None:
        try:
            self._remove(chunk, uuid, first=first)
        except StoreError as error:
            log.warning("object not deleted yet", extra={"key": chunk.key, "cause": str(error)})
            self._leave_behind(chunk)

    def _leave_behind(self, chunk: Chunk) -> None:
        """Have an object that nothing else refers to deleted in the background."""
        values = {"uuid": uuid4(), "chunks": json.dumps([vars(chunk)])}
        self._database.run(_LEAVE_BEHIND, values)

    def _status(self, upload: Upload) -> tuple[int, list[Chunk], tuple[str, ...]]:
        rows = self._database.read(_STATUS, self._parameters(upload))
        if not rows:
            raise UploadUnknown(f"'{upload.name}' has no upload {upload.uuid}")
        size, chunks, excluded = rows[0]
        return size, [Chunk(**chunk) for chunk in chunks], tuple(excluded or ())

    def _clear_away_or_leave(self, uuid: UUID) -> bool:
        """Delete an upload's objects, then its row, and return whether all are gone.

        Objects at unavailable stores are left to the background. They are not waited for.
        """
        rows = self._database.run(_END_FOR_GOOD, {"uuid": uuid})
        if not rows:
            return True
        chunks, existing = rows[0]
        left = [Chunk(**chunk) for chunk in chunks if chunk["location"] in existing]
        try:
            while left:
                self._remove(left[0], uuid, first=_at_content_address(left[0]))
                del left[0]
        except StoreError as error:
            fields = {"upload": str(uuid), "cause": str(error)}
            log.warning("objects of an upload not deleted yet", extra=fields)
            values = {
                "uuid": uuid,
                "chunks": json.dumps([vars(chunk) for chunk in left]),
                "first": any(_at_content_address(chunk) for chunk in left),
            }
            self._database.run(_KEEP_LEFTOVERS, values)
            return False
        self._database.run("DELETE FROM blobupload WHERE uuid = %s AND ended", [uuid])
        return True

    def _remove(self, chunk: Chunk, uuid: UUID | None, *, first: bool) -> None:
        if not self._locations.health.is_up(chunk.location):
            raise StoreUnavailable(chunk.location, "it is known to be down, or not configured")
        if first:
            self._content.discard(Digest.parse(chunk.digest), chunk.location, uuid)
        else:
            self._locations.stores[chunk.location].delete(chunk.key)

    @staticmethod
    def _parameters(upload: Upload) -> dict[str, object]:
        return {**name_parameters(upload.name), "uuid": upload.uuid}


def _at_content_address(chunk: Chunk) -> bool:
    return not chunk.key.startswith(_UPLOADS)


def _excluded(rows: list[Any]) -> tuple[str, ...]:
    """Return the locations that a statement about one upload tells."""
    return tuple(rows[0][0] or ()) if rows else ()
