"""Mount blobs that other repositories have.

Mounting holds a shared lock on the digest (`placement.locks`) and removes the tombstone of the
garbage collector (`placement.upkeep.garbage`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from atoll.auth.visibility import readable_by
from atoll.config import Bundle
from atoll.db.advisory_locks import lock, pair_key
from atoll.db.pool import Database
from atoll.names import Digest, RepositoryName
from atoll.placement.locks import LOCK_DIGEST_SHARED, lock_digests_shared
from atoll.placement.placements import HAS_GOOD_COPY, REMOVE_TOMBSTONE
from atoll.placement.task_creation import create_for_blob
from atoll.registry.blob_rights import GRANT_RIGHT, usable_in
from atoll.registry.errors import RepositoryUnknown
from atoll.registry.repositories import REPOSITORY_ID, name_parameters
from atoll.storage.locations import Locations

# The maximum number of blobs that one statement mounts.
MOUNTED_MAXIMUM = 40

# End of the mount statements. The policy of the target repository may require the blob at further
# locations, so replication tasks are created. Returns whether the blob was mounted, and whether the
# repository exists.
_GRANT_AND_REPLICATE = f"""
{GRANT_RIGHT.format(repository=REPOSITORY_ID, where=f"WHERE {REPOSITORY_ID} IS NOT NULL")},
tasks AS ({create_for_blob(REPOSITORY_ID)})
SELECT count(*) > 0, {REPOSITORY_ID} IS NOT NULL FROM granted"""

# Mount a blob from a given repository.
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
), {REMOVE_TOMBSTONE}, {_GRANT_AND_REPLICATE}
"""

# Mount a blob from any repository that has it and that the user can read.
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
), {REMOVE_TOMBSTONE}, {_GRANT_AND_REPLICATE}
"""

# Mount all blobs of an image that the repository or a public one has, and return their sizes.
# Mounts in one repository are serialized, because they write rows of the same blobs.
_MOUNT_PUBLIC = f"""
SELECT {lock(pair_key(REPOSITORY_ID, "'mounts'::text"))};
{lock_digests_shared("%(digests)s")}
WITH blob AS MATERIALIZED (
    SELECT s.id, s.image_size, s.content_checksum FROM imagestorage s
    WHERE s.content_checksum = ANY(%(digests)s::text[])
      AND {HAS_GOOD_COPY}
      AND EXISTS (
          SELECT FROM (SELECT id, visibility, namespace_user_id AS namespace_id
                       FROM repository) AS source
          WHERE {usable_in("source.id")}
            AND (source.id = {REPOSITORY_ID} OR {readable_by("source")}))
    ORDER BY s.id
), {REMOVE_TOMBSTONE}, {
    GRANT_RIGHT.format(repository=REPOSITORY_ID, where=f"WHERE {REPOSITORY_ID} IS NOT NULL")
}, tasks AS ({create_for_blob(REPOSITORY_ID)})
SELECT blob.content_checksum, blob.image_size
FROM blob JOIN granted ON granted.blob_id = blob.id
"""

# Give a repository the right to a blob that a store has, regardless of its other repositories.
_GRANT_PROVEN = f"""
{LOCK_DIGEST_SHARED}
WITH blob AS (
    SELECT s.id, s.image_size FROM imagestorage s
    WHERE s.content_checksum = %(digest)s AND s.image_size = %(size)s
      AND {HAS_GOOD_COPY}
), {REMOVE_TOMBSTONE}, {_GRANT_AND_REPLICATE}
"""

_IS_STORED = f"""
SELECT 1 FROM imagestorage s
WHERE s.content_checksum = %(digest)s AND s.image_size = %(size)s AND {HAS_GOOD_COPY}
"""


class BlobMounts:
    """Rights of repositories to blobs that a store has."""

    def __init__(self, database: Database, locations: Locations, bundle: Bundle) -> None:
        self._database = database
        self._locations = locations
        self._keep_seconds = bundle.push_temp_tag_expiration_sec

    def mount(self, name: RepositoryName, source: RepositoryName, digest: Digest) -> bool:
        """Mount a blob from another repository, and return whether that repository has it.

        Raises:
            RepositoryUnknown: The target repository does not exist.
        """
        parameters: Mapping[str, object] = {
            **name_parameters(name),
            "from_namespace": source.namespace,
            "from_name": source.name,
            "from_id": source.id,
            "digest": str(digest),
            "keep_seconds": self._keep_seconds,
        }
        return self._mount(_MOUNT, name, parameters)

    def mount_from_any(
        self,
        name: RepositoryName,
        digest: Digest,
        username: str | None,
        user_id: int | None = None,
    ) -> bool:
        """Mount a blob from any repository that the user can pull from.

        Args:
            name: The target repository.
            digest: The blob.
            username: The user's name; None for anonymous clients.
            user_id: The expected id of the account. An account of the same name with another id
                is treated as anonymous.

        Returns:
            Whether such a repository has the blob.

        Raises:
            RepositoryUnknown: The target repository does not exist.
        """
        parameters: Mapping[str, object] = {
            **name_parameters(name),
            "digest": str(digest),
            "username": username,
            "user_id": user_id,
            "everything": False,
            "keep_seconds": self._keep_seconds,
        }
        return self._mount(_MOUNT_FROM_ANY, name, parameters)

    def mount_public(self, name: RepositoryName, digests: Sequence[str]) -> dict[str, int]:
        """Mount those of several blobs that the repository itself or a public one has.

        Args:
            name: The target repository.
            digests: The blobs; at most `MOUNTED_MAXIMUM`, because each takes a lock.

        Returns:
            The size in bytes of each mounted blob.
        """
        parameters = {
            **name_parameters(name),
            "digests": list(digests),
            "username": None,
            "everything": False,
            "keep_seconds": self._keep_seconds,
            "required": self._locations.required,
            "location": None,
        }
        return dict(self._database.run(_MOUNT_PUBLIC, parameters))

    def is_stored(self, digest: Digest, size: int) -> bool:
        """Return whether a store has a blob, in whatever repository."""
        values = {"digest": str(digest), "size": size}
        return bool(self._database.read(_IS_STORED, values))

    def grant_proven(self, name: RepositoryName, digest: Digest, size: int) -> bool:
        """Give a repository the right to a stored blob of which the caller has all bytes.

        No repository has to share the blob: only its bytes prove the possession, so the caller must
        have received and hashed them.

        Returns:
            Whether a store has the blob.

        Raises:
            RepositoryUnknown: The repository does not exist.
        """
        parameters: Mapping[str, object] = {
            **name_parameters(name),
            "digest": str(digest),
            "size": size,
            "keep_seconds": self._keep_seconds,
        }
        return self._mount(_GRANT_PROVEN, name, parameters)

    def _mount(
        self, statement: str, name: RepositoryName, parameters: Mapping[str, object]
    ) -> bool:
        mounted, exists = self._database.run(
            statement, {**parameters, "required": self._locations.required, "location": None}
        )[0]
        if not exists:
            raise RepositoryUnknown(f"there is no repository '{name}'")
        return bool(mounted)
