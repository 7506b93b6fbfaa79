"""Find, place and delete blobs of repositories.

One statement places a blob: it writes the blob, its placement, the repository's right to it and the
replication tasks. Placing holds a shared lock on the digest (`placement.locks`) and removes the
tombstone of the garbage collector (`placement.upkeep.garbage`).
"""

from __future__ import annotations

import json
from collections.abc import Generator
from dataclasses import dataclass
from uuid import UUID

from atoll.config import Bundle
from atoll.db.pool import Database
from atoll.db.replicas import Reads
from atoll.db.shared_redis import LIFE_SECONDS, SharedRedis
from atoll.db.statement import Statement
from atoll.names import Digest, RepositoryName
from atoll.placement.content_deletions import DELETED_SINCE
from atoll.placement.placement_cache import cache_key
from atoll.placement.placements import (
    GOOD_LOCATIONS,
    HAS_NO_COPY,
    LOCK_TO_PLACE,
    TARGET,
    place_blob,
)
from atoll.placement.rules import excluded_in
from atoll.registry.blob_rights import (
    GRANT_RIGHT,
    proves_repository,
    repository_value,
    right_cache_key,
    right_in,
    usable_in,
)
from atoll.registry.errors import (
    BlobInUse,
    BlobLost,
    BlobQuarantined,
    BlobUnknown,
    UploadUnknown,
)
from atoll.registry.prepared_uploads import NO_PREPARATION, Preparation
from atoll.registry.repositories import (
    REPOSITORY_ID,
    WRITABLE,
    name_parameters,
    raise_if_read_only,
    read_only,
)
from atoll.storage.base import blob_key
from atoll.storage.failover import read_from_any
from atoll.storage.locations import Locations

# Return the repository's id, and the blob's size and placements; whether it has no copy at all, and
# whether the right to it outlasts the cache.
_FIND = Statement(f"""
SELECT repository.id, s.image_size,
       {GOOD_LOCATIONS},
       {HAS_NO_COPY},
       {right_in("repository.id", f"ub.expires_at > now() + interval '{LIFE_SECONDS} seconds'")}
FROM imagestorage s, (SELECT {REPOSITORY_ID} AS id) AS repository
WHERE s.content_checksum = %(digest)s
  AND {usable_in("repository.id")}
""")

# CTEs: end the upload. If it has chunks other than the blob, it is only marked as ended, so that
# they are deleted before its row.
_END_UPLOAD = """
ended_upload AS (
    UPDATE blobupload SET ended = true FROM upload
    WHERE blobupload.uuid = upload.uuid AND upload.leftovers
), deleted_upload AS (
    DELETE FROM blobupload USING upload
    WHERE blobupload.uuid = upload.uuid AND NOT upload.leftovers
)"""

# CTEs: record the next upload to the repository, and delete uploads that no client started.
_PREPARE_UPLOAD = f"""
next_upload AS (
    INSERT INTO blobupload (uuid, repository_id)
    SELECT %(next)s, upload.repository_id FROM upload WHERE %(next)s::uuid IS NOT NULL
    RETURNING {excluded_in("blobupload.repository_id")} AS excluded
), deleted_unused AS (
    DELETE FROM blobupload WHERE uuid = ANY(%(unused)s::uuid[])
)"""

# Place the object of an upload as a blob. Nothing is placed if the object may have been deleted, if
# its location is removed or excluded, if the upload's chunks do not have %(recorded)s bytes, or if
# the state of the repository changed since the upload began. Returns the blob's id, whether the
# upload still exists, whether the state permits the blob, whether the blob is new, and the
# locations that the next upload does not use.
_PLACE = f"""
{LOCK_TO_PLACE}
WITH {TARGET}, upload AS (
    SELECT u.uuid, u.repository_id, u.expires_after_s, EXISTS (
        SELECT FROM jsonb_array_elements(u.chunks) AS chunk
        WHERE chunk ->> 'digest' <> %(digest)s OR chunk ->> 'location' <> %(location)s
    ) AS leftovers
    FROM blobupload u
    WHERE u.uuid = %(uuid)s AND NOT u.ended AND u.repository_id = {REPOSITORY_ID}
      AND NOT {DELETED_SINCE} AND EXISTS (SELECT FROM location)
      AND (%(location)s = ANY({excluded_in("u.repository_id")})) IS NOT TRUE
      AND u.byte_count = coalesce(%(recorded)s::bigint, u.byte_count)
      AND {WRITABLE.format(id="u.repository_id")}
    FOR UPDATE
), {place_blob("upload")}, {_END_UPLOAD}, {_PREPARE_UPLOAD},
{GRANT_RIGHT.format(repository="upload.repository_id", where=", upload")}
SELECT (SELECT storage_id FROM placement),
       EXISTS (SELECT FROM blobupload
               WHERE uuid = %(uuid)s AND NOT ended AND repository_id = {REPOSITORY_ID}),
       {WRITABLE.format(id=REPOSITORY_ID)},
       (SELECT is_new FROM blob), (SELECT excluded FROM next_upload)
"""

# Delete the right of a repository to a blob, unless a manifest refers to the blob.
_DELETE = f"""
WITH blob AS (
    SELECT s.id, repository.id AS repository_id, EXISTS (
        SELECT FROM manifestblob mb JOIN manifest m ON m.id = mb.manifest_id
        WHERE mb.repository_id = repository.id AND mb.blob_id = s.id AND m.deleted_at IS NULL
    ) AS in_use
    FROM imagestorage s, (SELECT {REPOSITORY_ID} AS id) AS repository
    WHERE s.content_checksum = %(digest)s AND {usable_in("repository.id")}
      AND {WRITABLE.format(id="repository.id")}
), deleted_right AS (
    DELETE FROM uploadedblob u USING blob
    WHERE u.repository_id = blob.repository_id AND u.blob_id = blob.id AND NOT blob.in_use
)
SELECT in_use FROM blob
"""


@dataclass(frozen=True)
class Blob:
    """A blob of a repository.

    Attributes:
        digest: The blob's digest.
        size: The blob's size in bytes.
        placements: The locations with a good copy. If there is none, a push repairs the blob.
        lost: Whether there is no copy at all, not even in quarantine.
    """

    digest: Digest
    size: int
    placements: list[str]
    lost: bool = False


@dataclass(frozen=True)
class Placed:
    """The outcome of placing a blob.

    Attributes:
        excluded: The locations that the repository excludes, if the next upload was recorded.
    """

    excluded: tuple[str, ...]


class Blobs:
    """The blobs of all repositories."""

    def __init__(
        self,
        database: Database,
        reads: Reads,
        redis: SharedRedis,
        locations: Locations,
        bundle: Bundle,
    ) -> None:
        self._database = database
        self._reads = reads
        self._redis = redis
        self._locations = locations
        self._keep_seconds = bundle.push_temp_tag_expiration_sec

    def find(self, name: RepositoryName, digest: Digest) -> Blob:
        """Return a blob of a repository, in one round trip or from the cache.

        Raises:
            BlobUnknown: The repository has no such blob.
        """
        right = right_cache_key(name, digest)
        owner, cached = self._redis.get_cached(right, cache_key(digest))
        if cached and proves_repository(owner, name):
            size, placements = json.loads(cached)
            # Otherwise the locations were removed, and the cache is outdated.
            if any(self._locations.states.readable(location) for location in placements):
                return Blob(digest, size, placements)
        values = {**name_parameters(name), "digest": str(digest)}
        answer = self._reads.near(_FIND, values)
        if answer.rows and not answer.rows[0][2] and not answer.fresh:
            # A replica may lag behind the first placement of a blob.
            answer = self._reads.current(_FIND, values)
        if not answer.rows:
            raise BlobUnknown(f"'{name}' has no blob {digest}")
        repository_id, size, placements, lost, lasting = answer.rows[0]
        if answer.fresh:
            # Deleting a manifest deletes the key; the right of an upload expires instead.
            if lasting:
                self._redis.fill(right, repository_value(repository_id))
            if placements:
                self._redis.fill(cache_key(digest), json.dumps([size, placements]).encode())
        return Blob(digest, size, placements, lost)

    def url(self, blob: Blob, seconds: int) -> str | None:
        """Return a presigned URL of the blob in the nearest available store.

        Args:
            blob: The blob.
            seconds: The lifetime of the URL, most of which is left.

        Returns:
            The URL; None if the store does not support URLs, so that `read` must be used.

        Raises:
            BlobLost: There is no copy of the blob.
            BlobQuarantined: All copies of the blob are in quarantine.
            NoHealthyStore: No store with the blob is available.
        """
        location = self._readable(blob)[0]
        return self._locations.links.url(location, blob_key(blob.digest), seconds)

    def read(self, blob: Blob, start: int, end: int) -> Generator[bytes, None, None]:
        """Yield the blob's bytes from `start` up to but excluding `end`.

        If a store fails during the read, the next one continues.

        Raises:
            BlobLost: There is no copy of the blob.
            BlobQuarantined: All copies of the blob are in quarantine.
            StoreError: All stores with the blob failed.
        """
        locations = self._readable(blob)
        stores, health = self._locations.stores, self._locations.health
        key = blob_key(blob.digest)
        return read_from_any(stores, health, locations, key, start=start, end=end)

    def _readable(self, blob: Blob) -> list[str]:
        if blob.lost:
            raise BlobLost(blob.digest)
        if not blob.placements:
            raise BlobQuarantined(blob.digest)
        return self._locations.selection.to_read(blob.placements)

    def place(
        self,
        digest: Digest,
        size: int,
        location: str,
        name: RepositoryName,
        upload: UUID,
        *,
        username: str | None = None,
        expires_after: int | None = None,
        recorded: int | None = None,
        preparation: Preparation = NO_PREPARATION,
    ) -> Placed | None:
        """Place the object that an upload wrote as a blob of its repository, in one round trip.

        The upload ends. Its row is kept until its other chunks are deleted.

        Args:
            digest: The blob's digest.
            size: The blob's size in bytes.
            location: The object's location.
            name: The upload's repository.
            upload: The upload's id.
            username: The user who uploads; None for anonymous clients.
            expires_after: Seconds after which tags of the image expire, if the blob is an image
                configuration with that label and was sent with the last request.
            recorded: The number of bytes in the chunks of the upload, as far as the caller knows; 0
                for a blob that was sent in one request. None if any number is right.
            preparation: The next upload that is recorded if the blob is placed, and unused ones
                that are deleted.

        Returns:
            The outcome. None if the object must be written again: it may have been deleted, or its
            location is being removed or is excluded; or the upload has another number of bytes than
            `recorded`.

        Raises:
            UploadUnknown: The upload has ended, or belongs to another repository.
            Denied: The repository is read-only, or a mirror that another user changes.
        """
        storage_id, upload_remains, writable, is_new, excluded = self._database.run(
            _PLACE,
            {
                **name_parameters(name),
                "digest": str(digest),
                "size": size,
                "location": location,
                "uuid": upload,
                "username": username,
                "required": self._locations.required,
                "keep_seconds": self._keep_seconds,
                "expires_after": expires_after,
                "recorded": recorded,
                "next": preparation.uuid,
                "unused": preparation.unused,
            },
        )[0]
        if storage_id is None:
            if upload_remains and not writable:
                raise read_only(name)
            if upload_remains:
                return None
            raise UploadUnknown(f"upload {upload} has ended")
        if is_new:
            self._redis.delete_older(cache_key(digest))
        else:
            self._redis.delete(cache_key(digest))
        return Placed(tuple(excluded or ()))

    def delete(self, name: RepositoryName, digest: Digest, username: str | None = None) -> None:
        """Delete the repository's right to a blob.

        Args:
            name: The repository.
            digest: The blob's digest.
            username: The user who deletes it; None for anonymous clients.

        Raises:
            BlobUnknown: The repository has no such blob.
            BlobInUse: A manifest of the repository refers to the blob.
            Denied: The repository is read-only.
        """
        rows = self._database.run(
            _DELETE, {**name_parameters(name), "digest": str(digest), "username": username}
        )
        if not rows:
            raise_if_read_only(self._database, name, username)
            raise BlobUnknown(f"'{name}' has no blob {digest}")
        if rows[0][0]:
            raise BlobInUse(
                f"{digest} is in use by a manifest of '{name}'; delete the manifest first"
            )
        self._redis.delete(right_cache_key(name, digest))
