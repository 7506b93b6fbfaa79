"""Blobs: find one in a repository, place one, lend one to another repository.

A blob is placed by one statement that writes the blob, its placement, the repository's right to it
and the tasks that bring it everywhere else. Whoever lends or places a blob holds the lock on its
digest (`content`), and brings back what the collector had marked (`garbage`).
"""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from uuid import UUID

from atoll.auth.visibility import readable_by
from atoll.config import Bundle
from atoll.db.pool import Database
from atoll.db.replicas import Reads
from atoll.db.shared_redis import LIFE_SECONDS, SharedRedis
from atoll.names import Digest, RepositoryName
from atoll.placement.content_deletions import DELETED_SINCE
from atoll.placement.locks import LOCK_DIGEST_SHARED
from atoll.placement.placements import (
    GOOD_LOCATIONS,
    HAS_GOOD_COPY,
    HAS_NO_COPY,
    LOCK_TO_PLACE,
    REMOVE_TOMBSTONE,
    TARGET,
    place_blob,
)
from atoll.placement.rules import excluded_in
from atoll.placement.task_creation import create_for_blob
from atoll.registry.errors import (
    BlobInUse,
    BlobLost,
    BlobQuarantined,
    BlobUnknown,
    RepositoryUnknown,
    UploadUnknown,
)
from atoll.registry.repositories import REPOSITORY_ID, WRITABLE, name_parameters, raise_if_read_only
from atoll.storage.base import blob_key
from atoll.storage.failover import read_from_any
from atoll.storage.locations import Locations


def usable_in(repository: str) -> str:
    """Return the condition that blob `s` can be read and mounted from a repository.

    A manifest there names it, or it was uploaded or mounted there a short time ago.

    Args:
        repository: an SQL expression for the repository's id.
    """
    return _right_in(repository, "ub.expires_at > now()")


def nameable_in(repository: str) -> str:
    """Return the condition that a manifest pushed to a repository may name blob `s`.

    That includes a right that ended until the collector deletes it, for pushes that take long.

    Args:
        repository: an SQL expression for the repository's id.
    """
    return _right_in(repository, "true")


def _right_in(repository: str, valid: str) -> str:
    return f"""(
    EXISTS (SELECT FROM uploadedblob ub
            WHERE ub.repository_id = {repository} AND ub.blob_id = s.id AND {valid})
    OR EXISTS (SELECT FROM manifestblob mb JOIN manifest m ON m.id = mb.manifest_id
               WHERE mb.repository_id = {repository} AND mb.blob_id = s.id
                 AND m.deleted_at IS NULL))"""


_FIND = f"""
SELECT repository.id, s.image_size,
       {GOOD_LOCATIONS},
       {HAS_NO_COPY},
       {_right_in("repository.id", f"ub.expires_at > now() + interval '{LIFE_SECONDS} seconds'")}
FROM imagestorage s, (SELECT {REPOSITORY_ID} AS id) AS repository
WHERE s.content_checksum = %(digest)s
  AND {usable_in("repository.id")}
"""

_LEND = """
lent AS (
    INSERT INTO uploadedblob (repository_id, blob_id, expires_at)
    SELECT {repository}, blob.id, now() + make_interval(secs => %(keep_seconds)s)
    FROM blob {where}
    ON CONFLICT (repository_id, blob_id) DO UPDATE SET expires_at = EXCLUDED.expires_at
    RETURNING blob_id
)"""

# An upload with other chunks than the blob is only marked, so that they are deleted before its row.
_END_UPLOAD = """
ended AS (
    UPDATE blobupload SET ended = true FROM upload
    WHERE blobupload.uuid = upload.uuid AND upload.leftovers
), gone AS (
    DELETE FROM blobupload USING upload
    WHERE blobupload.uuid = upload.uuid AND NOT upload.leftovers
)"""

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
      AND (u.byte_count = 0 OR NOT %(whole)s)
    FOR UPDATE
), {place_blob("upload")}, {_END_UPLOAD},
{_LEND.format(repository="upload.repository_id", where=", upload")}
SELECT (SELECT storage_id FROM placement),
       EXISTS (SELECT FROM blobupload
               WHERE uuid = %(uuid)s AND NOT ended AND repository_id = {REPOSITORY_ID})
"""

# The repository that the blob is lent to may require it where no other one does.
_LENT = f"""
{_LEND.format(repository=REPOSITORY_ID, where=f"WHERE {REPOSITORY_ID} IS NOT NULL")},
tasks AS ({create_for_blob(REPOSITORY_ID)})
SELECT count(*) > 0, {REPOSITORY_ID} IS NOT NULL FROM lent"""

_MOUNT = f"""
{LOCK_DIGEST_SHARED}
WITH blob AS (
    SELECT s.id, s.image_size FROM imagestorage s, (
        SELECT r.id FROM repository r JOIN "user" n ON n.id = r.namespace_user_id
        WHERE n.username = %(from_namespace)s AND r.name = %(from_name)s AND n.enabled
          AND (%(from_id)s::bigint IS NULL OR r.id = %(from_id)s)) AS source
    WHERE s.content_checksum = %(digest)s
      AND {HAS_GOOD_COPY}
      AND {usable_in("source.id")}
), {REMOVE_TOMBSTONE}, {_LENT}
"""

# Without a source: from any repository that the user may read and that may use the blob.
_MOUNT_FROM_ANY = f"""
{LOCK_DIGEST_SHARED}
WITH blob AS (
    SELECT s.id, s.image_size FROM imagestorage s
    WHERE s.content_checksum = %(digest)s
      AND {HAS_GOOD_COPY}
      AND EXISTS (
          SELECT FROM (SELECT id, visibility, namespace_user_id AS namespace_id
                       FROM repository) AS source
          WHERE {usable_in("source.id")} AND {readable_by("source", by_id=True)})
), {REMOVE_TOMBSTONE}, {_LENT}
"""

# What a manifest names stays; the row that says "uploaded here" is what a DELETE takes away.
_DELETE = f"""
WITH found AS (
    SELECT s.id, repository.id AS repository_id, EXISTS (
        SELECT FROM manifestblob mb JOIN manifest m ON m.id = mb.manifest_id
        WHERE mb.repository_id = repository.id AND mb.blob_id = s.id AND m.deleted_at IS NULL
    ) AS named
    FROM imagestorage s, (SELECT {REPOSITORY_ID} AS id) AS repository
    WHERE s.content_checksum = %(digest)s AND {usable_in("repository.id")}
      AND {WRITABLE.format(id="repository.id")}
), gone AS (
    DELETE FROM uploadedblob u USING found
    WHERE u.repository_id = found.repository_id AND u.blob_id = found.id AND NOT found.named
)
SELECT named FROM found
"""


@dataclass(frozen=True)
class Blob:
    """A blob of a repository: its digest, size in bytes, and where it is.

    What proved wrong at a location does not count; with no placement left, only a push helps. A
    LOST one is not even in quarantine anywhere.
    """

    digest: Digest
    size: int
    placements: list[str]
    lost: bool = False


def cache_key(digest: Digest | str) -> str:
    """Return the cache's key for where a blob is. Whoever changes a placement deletes it."""
    return f"atoll:placements:{digest}"


def right_cache_key(name: RepositoryName | str, digest: Digest | str) -> str:
    """Return the cache's key for a repository's right to a blob."""
    return f"atoll:right:{name}:{digest}"


def repository_value(repository_id: int) -> bytes:
    """Return the value of a cached right: it holds for one repository, not for a name."""
    return f"id:{repository_id}".encode()


def proves_repository(value: bytes | None, name: RepositoryName) -> bool:
    """Return whether a cached right is that of the repository that NAME is bound to.

    A name that is not bound is satisfied with a right of any repository that has the name.
    """
    if value is None:
        return False
    return name.id is None or value == repository_value(name.id)


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
        """Return the repository's blob, or raise BlobUnknown. One round trip, none from cache."""
        right = right_cache_key(name, digest)
        owner, cached = self._redis.get_cached(right, cache_key(digest))
        if cached and proves_repository(owner, name):
            size, placements = json.loads(cached)
            # Else the locations were removed since, and the database knows better.
            if any(self._locations.states.readable(location) for location in placements):
                return Blob(digest, size, placements)
        values = {**name_parameters(name), "digest": str(digest)}
        answer = self._reads.near(_FIND, values)
        if answer.rows and not answer.rows[0][2] and not answer.fresh:
            # That it is nowhere a replica is not believed, either.
            answer = self._reads.current(_FIND, values)
        if not answer.rows:
            raise BlobUnknown(f"'{name}' has no blob {digest}")
        repository_id, size, placements, lost, lasting = answer.rows[0]
        if answer.fresh:
            # The deletion of a manifest deletes the key. An upload's right just expires.
            if lasting:
                self._redis.fill(right, repository_value(repository_id))
            if placements:
                self._redis.fill(cache_key(digest), json.dumps([size, placements]).encode())
        return Blob(digest, size, placements, lost)

    def url(self, blob: Blob, seconds: int) -> str | None:
        """Return a URL of the nearest living store that has the blob, good for so many seconds.

        None where that store has no URLs; `read` has the bytes then. Raises BlobLost,
        BlobQuarantined or NoHealthyStore.
        """
        location = self._readable(blob)[0]
        return self._locations.stores[location].presigned_url(blob_key(blob.digest), seconds)

    def read(self, blob: Blob, start: int, end: int) -> Generator[bytes, None, None]:
        """Yield the blob's bytes from START up to END (not included).

        A store that fails half-way is left for the next one. Raises BlobLost, BlobQuarantined or
        StoreError.
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
        expires_after: int | None = None,
        whole: bool = False,
    ) -> bool:
        """Make the object that UPLOAD wrote at LOCATION a blob of the upload's repository.

        End the upload; its row stays as long as there are other chunks to delete. One round trip.

        Args:
            digest: the blob's digest.
            size: the blob's size in bytes.
            location: where the object is.
            name: the upload's repository.
            upload: the upload that wrote it.
            expires_after: seconds after which its images' tags expire, if the blob says so and was
                sent with the last request.
            whole: whether the blob came in one request, so that the upload has no chunks.

        Returns:
            False, and nothing done, if the object may have been deleted meanwhile, or the location
            is being removed, is removed or, by now, excluded: write it again. Also if a WHOLE
            blob's upload has chunks.

        Raises:
            UploadUnknown: the upload ended before, or belongs to another repository.
        """
        storage_id, upload_remains = self._database.run(
            _PLACE,
            {
                **name_parameters(name),
                "digest": str(digest),
                "size": size,
                "location": location,
                "uuid": upload,
                "required": self._locations.required,
                "keep_seconds": self._keep_seconds,
                "expires_after": expires_after,
                "whole": whole,
            },
        )[0]
        if storage_id is None:
            if upload_remains:
                return False
            raise UploadUnknown(f"upload {upload} has ended")
        self._redis.delete(cache_key(digest))
        return True

    def mount(self, name: RepositoryName, source: RepositoryName, digest: Digest) -> bool:
        """Let repository NAME use a blob of SOURCE; False if SOURCE has none.

        Raises RepositoryUnknown if there is no repository NAME.
        """
        parameters: Mapping[str, object] = {
            **name_parameters(name),
            "from_namespace": source.namespace,
            "from_name": source.name,
            "from_id": source.id,
            "digest": str(digest),
            "keep_seconds": self._keep_seconds,
        }
        return self._lend(_MOUNT, name, parameters)

    def mount_from_any(
        self,
        name: RepositoryName,
        digest: Digest,
        username: str | None,
        user_id: int | None = None,
    ) -> bool:
        """Let repository NAME use a blob of any repository that the user may pull from.

        Args:
            name: the target.
            digest: the blob.
            username: the user's name; None for anonymous clients.
            user_id: with an id, another account that has the same name counts as anonymous.

        Returns:
            False if no such repository has the blob.

        Raises:
            RepositoryUnknown: there is no repository NAME.
        """
        parameters: Mapping[str, object] = {
            **name_parameters(name),
            "digest": str(digest),
            "username": username,
            "user_id": user_id,
            "everything": False,
            "keep_seconds": self._keep_seconds,
        }
        return self._lend(_MOUNT_FROM_ANY, name, parameters)

    def _lend(self, statement: str, name: RepositoryName, parameters: Mapping[str, object]) -> bool:
        lent, exists = self._database.run(
            statement, {**parameters, "required": self._locations.required, "location": None}
        )[0]
        if not exists:
            raise RepositoryUnknown(f"there is no repository '{name}'")
        return bool(lent)

    def delete(self, name: RepositoryName, digest: Digest) -> None:
        """Delete the repository's right to a blob.

        Raises BlobUnknown or BlobInUse, or Denied if the repository is read-only.
        """
        rows = self._database.run(_DELETE, {**name_parameters(name), "digest": str(digest)})
        if not rows:
            raise_if_read_only(self._database, name)
            raise BlobUnknown(f"'{name}' has no blob {digest}")
        if rows[0][0]:
            raise BlobInUse(f"a manifest of '{name}' names {digest}; delete that first")
        self._redis.delete(right_cache_key(name, digest))
