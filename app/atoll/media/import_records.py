"""What a registry remembers of media: versions of tags, and images that wait for other media."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from atoll.db.pool import Database
from atoll.media.description import ExportedTag
from atoll.names import RepositoryName
from atoll.registry.blob_rights import nameable_in

# How long incomplete images are kept, in days.
AWAITED_DAYS = 30

_EXPIRES = f"now() + interval '{AWAITED_DAYS} days'"

# Record the version of a tag, unless a newer one of the same registry was imported.
_ADVANCE = """
INSERT INTO importedtag (repository_id, name, registry, changed_ms)
VALUES (%(repository_id)s, %(name)s, %(registry)s, %(changed_ms)s)
ON CONFLICT (repository_id, name) DO UPDATE
SET registry = EXCLUDED.registry, changed_ms = EXCLUDED.changed_ms
WHERE importedtag.registry <> EXCLUDED.registry OR importedtag.changed_ms <= EXCLUDED.changed_ms
RETURNING 1
"""

_AWAIT_TAG = f"""
INSERT INTO awaitedtag
    (repository_id, name, registry, changed_ms, digest, required, missing, media, expires_at)
VALUES (%(repository_id)s, %(name)s, %(registry)s, %(changed_ms)s, %(digest)s,
        %(required)s::text[], %(missing)s::text[], %(media)s::text[], {_EXPIRES})
ON CONFLICT (repository_id, name) DO UPDATE
SET registry = EXCLUDED.registry, changed_ms = EXCLUDED.changed_ms, digest = EXCLUDED.digest,
    required = EXCLUDED.required, missing = EXCLUDED.missing, media = EXCLUDED.media,
    expires_at = EXCLUDED.expires_at
WHERE awaitedtag.registry <> EXCLUDED.registry OR awaitedtag.changed_ms <= EXCLUDED.changed_ms
"""

_IS_NEWER = """
SELECT 1 FROM importedtag
WHERE repository_id = %(repository_id)s AND name = %(name)s AND registry = %(registry)s
  AND changed_ms > %(changed_ms)s
"""

_END_TAG = """
DELETE FROM awaitedtag
WHERE repository_id = %(repository_id)s AND name = %(name)s
  AND (registry <> %(registry)s OR changed_ms <= %(changed_ms)s)
"""

_AWAIT_MANIFEST = f"""
INSERT INTO awaitedmanifest (repository_id, digest, media_type, manifest_bytes, expires_at)
VALUES (%(repository_id)s, %(digest)s, %(media_type)s, %(content)s, {_EXPIRES})
ON CONFLICT (repository_id, digest) DO UPDATE SET expires_at = EXCLUDED.expires_at
"""

# Keep the right of a repository to blobs that no manifest refers to yet.
_KEEP_BLOBS = f"""
UPDATE uploadedblob SET expires_at = greatest(expires_at, {_EXPIRES})
FROM imagestorage s
WHERE uploadedblob.repository_id = %(repository_id)s AND uploadedblob.blob_id = s.id
  AND s.content_checksum = ANY(%(blobs)s::text[])
"""

# Lists the waiting tags of a repository with the digests that are still missing.
_AWAITED_TAGS = f"""
SELECT a.name, a.registry, a.changed_ms, a.digest, a.required, array(
    SELECT wanted.digest FROM unnest(a.missing) AS wanted (digest)
    WHERE NOT EXISTS (SELECT FROM manifest m
                      WHERE m.repository_id = a.repository_id AND m.digest = wanted.digest
                        AND m.deleted_at IS NULL)
      AND NOT EXISTS (SELECT FROM imagestorage s
                      WHERE s.content_checksum = wanted.digest
                        AND {nameable_in("a.repository_id")})
    ORDER BY wanted.digest COLLATE "C"), a.media
FROM awaitedtag a WHERE a.repository_id = %(repository_id)s ORDER BY a.name COLLATE "C"
"""

_AWAITED_MANIFESTS = """
SELECT digest, media_type FROM awaitedmanifest a
WHERE repository_id = %(repository_id)s AND NOT EXISTS (
    SELECT FROM manifest m WHERE m.repository_id = a.repository_id AND m.digest = a.digest
      AND m.deleted_at IS NULL)
"""

_CONTENT = """
SELECT manifest_bytes FROM awaitedmanifest
WHERE repository_id = %(repository_id)s AND digest = %(digest)s
"""

_END_MANIFESTS = """
DELETE FROM awaitedmanifest
WHERE repository_id = %(repository_id)s AND NOT EXISTS (
    SELECT FROM awaitedtag WHERE repository_id = %(repository_id)s)
"""

_PRESENT = """
SELECT digest FROM manifest
WHERE repository_id = %(repository_id)s AND digest = ANY(%(digests)s::text[])
  AND deleted_at IS NULL
"""

_DELETE_EXPIRED = """
WITH tags AS (DELETE FROM awaitedtag WHERE expires_at < now())
DELETE FROM awaitedmanifest WHERE expires_at < now()
"""


@dataclass(frozen=True)
class AwaitedTag:
    """A tag whose image waits for other media.

    Attributes:
        name: The tag.
        registry: The host name of the exporting registry.
        state: The tag as that registry had it.
        required: The manifests that the repository must have.
        missing: The digests of missing manifests and blobs.
        media: The names of media that have them.
    """

    name: str
    registry: str
    state: ExportedTag
    required: list[str]
    missing: list[str]
    media: list[str]


class ImportRecords:
    """The records of one database. Names of repositories are bound to their ids."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def advance(self, name: RepositoryName, tag: str, registry: str, changed_ms: int) -> bool:
        """Record the version of a tag that is imported.

        Returns:
            False if a newer one of the same registry was imported before.
        """
        values = _tag(name, tag, registry, changed_ms)
        return bool(self._database.run(_ADVANCE, values))

    def end_wait(self, name: RepositoryName, tag: str, registry: str, changed_ms: int) -> None:
        """Delete the record of a waiting tag, unless it is newer."""
        self._database.run(_END_TAG, _tag(name, tag, registry, changed_ms))

    def await_tag(self, name: RepositoryName, awaited: AwaitedTag) -> bool:
        """Record a tag that waits.

        Returns:
            False if a newer version of the same registry was imported before.
        """
        values = _tag(name, awaited.name, awaited.registry, awaited.state.changed_ms)
        if self._database.read(_IS_NEWER, values):
            return False
        details = {
            "digest": awaited.state.digest,
            "required": awaited.required,
            "missing": awaited.missing,
            "media": awaited.media,
        }
        self._database.run(_AWAIT_TAG, {**values, **details})
        return True

    def await_manifest(
        self,
        name: RepositoryName,
        digest: str,
        media_type: str,
        content: bytes,
        blobs: Sequence[str],
    ) -> None:
        """Keep a manifest, and the right of its repository to blobs, until they are complete."""
        values = {"repository_id": name.id, "digest": digest, "media_type": media_type}
        self._database.run(_AWAIT_MANIFEST, {**values, "content": content})
        self._database.run(_KEEP_BLOBS, {**values, "blobs": list(blobs)})

    def awaited_tags(self, name: RepositoryName) -> list[AwaitedTag]:
        """Return the waiting tags of a repository."""
        rows = self._database.read(_AWAITED_TAGS, {"repository_id": name.id})
        return [
            AwaitedTag(row[0], row[1], ExportedTag(digest=row[3], changed_ms=row[2]), *row[4:])
            for row in rows
        ]

    def awaited_manifests(self, name: RepositoryName) -> dict[str, str]:
        """Return the media types of waiting manifests that the repository does not have."""
        return dict(self._database.read(_AWAITED_MANIFESTS, {"repository_id": name.id}))

    def content(self, name: RepositoryName, digest: str) -> bytes | None:
        """Return a waiting manifest."""
        rows = self._database.read(_CONTENT, {"repository_id": name.id, "digest": digest})
        return bytes(rows[0][0]) if rows else None

    def end_manifests(self, name: RepositoryName) -> None:
        """Delete the waiting manifests of a repository without waiting tags."""
        self._database.run(_END_MANIFESTS, {"repository_id": name.id})

    def present(self, name: RepositoryName, digests: Collection[str]) -> set[str]:
        """Return which manifests a repository has."""
        values = {"repository_id": name.id, "digests": list(digests)}
        return {row[0] for row in self._database.read(_PRESENT, values)}

    def delete_expired(self) -> None:
        """Delete records of images that waited too long."""
        self._database.run(_DELETE_EXPIRED)


def _tag(name: RepositoryName, tag: str, registry: str, changed_ms: int) -> dict[str, object]:
    return {
        "repository_id": name.id,
        "name": tag,
        "registry": registry,
        "changed_ms": changed_ms,
    }
