"""The history of tags, from which they can be restored for a while (Quay's time machine)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from atoll.db.pool import Database
from atoll.db.shared_redis import SharedRedis
from atoll.media_types import INDEX_TYPES
from atoll.names import InvalidName, RepositoryName, is_tag
from atoll.registry.errors import ManifestUnknown
from atoll.registry.manifest_cache import manifest_cache_keys
from atoll.registry.repositories import REPOSITORY_ID, name_parameters
from atoll.registry.tag_locks import lock_tag
from atoll.registry.tags import END_MS, NOW_MS, alive

# Bytes of a manifest that is read for its type and platforms.
_BYTES_MAXIMUM = 64 * 1024

# List a page of the history, newest first, with the size of each image, and for indexes with the
# manifests that they list and whether these can be pulled. Security scans are those of the image
# or of the images in the index.
_LIST = f"""
SELECT t.id, t.name, t.lifetime_start_ms, {END_MS}, m.digest, m.media_type = ANY(%(indexes)s),
       (SELECT coalesce(sum(s.image_size), 0)::bigint FROM manifestblob mb
        JOIN imagestorage s ON s.id = mb.blob_id WHERE mb.manifest_id = m.id),
       t.reversion,
       CASE WHEN m.media_type = ANY(%(indexes)s) THEN (
           SELECT coalesce(jsonb_object_agg(listed.digest, listed.present), '{{}}') FROM (
               SELECT child.digest, child.deleted_at IS NULL AS present
               FROM manifestchild mc JOIN manifest child ON child.id = mc.child_manifest_id
               WHERE mc.manifest_id = m.id
               UNION ALL SELECT a.digest, false FROM manifestabsent a WHERE a.manifest_id = m.id
           ) AS listed) END,
       CASE WHEN %(details)s AND octet_length(m.manifest_bytes) <= %(bytes)s
           THEN m.manifest_bytes END,
       p.tag_pull_count, p.last_tag_pull_date,
       CASE WHEN %(security)s THEN (
           SELECT coalesce(
               jsonb_agg(jsonb_build_array(s.index_status, s.severity_counts)), '[]')
           FROM (SELECT m.digest WHERE m.media_type <> ALL(%(indexes)s)
                 UNION ALL SELECT child.digest
                 FROM manifestchild mc JOIN manifest child ON child.id = mc.child_manifest_id
                 WHERE mc.manifest_id = m.id AND child.deleted_at IS NULL) AS image
           LEFT JOIN securityscan s ON s.digest = image.digest) END
FROM tag t JOIN manifest m ON m.id = t.manifest_id
LEFT JOIN tagpullstatistics p
    ON %(pulls)s AND p.repository_id = t.repository_id AND p.tag_name = t.name
WHERE t.repository_id = {REPOSITORY_ID}
  AND (NOT %(active)s OR {alive("t")})
  AND (%(tag)s IS NULL OR t.name = %(tag)s)
  AND (%(like)s IS NULL OR strpos(t.name, %(like)s) > 0)
  AND (%(after_ms)s::bigint IS NULL OR t.lifetime_start_ms < %(after_ms)s
       OR t.lifetime_start_ms = %(after_ms)s AND (t.name > %(after_name)s
          OR t.name = %(after_name)s AND t.id < %(after_id)s::bigint))
ORDER BY t.lifetime_start_ms DESC, t.name, t.id DESC LIMIT %(limit)s OFFSET %(offset)s
"""

# Point a tag to a manifest, in one transaction. The first lock is also acquired by pushes of the
# tag; the second one prevents the garbage collection of the manifest.
_SET = f"""
{lock_tag(REPOSITORY_ID, "%(tag)s")}
CREATE TEMPORARY TABLE target ON COMMIT DROP AS
SELECT m.id, m.repository_id FROM manifest m
WHERE m.repository_id = {REPOSITORY_ID} AND m.digest = %(digest)s AND {{condition}}
FOR KEY SHARE OF m;
UPDATE manifest SET deleted_at = NULL FROM target WHERE manifest.id = target.id;
UPDATE tag SET lifetime_end_ms = least({NOW_MS}, tag.expires_ms) FROM target
WHERE tag.repository_id = target.repository_id AND tag.name = %(tag)s
  AND tag.lifetime_end_ms IS NULL
  AND (tag.manifest_id <> target.id OR tag.expires_ms IS NOT NULL);
INSERT INTO tag (repository_id, name, manifest_id, lifetime_start_ms, reversion)
SELECT repository_id, %(tag)s, id, {NOW_MS}, %(reversion)s FROM target
ON CONFLICT (repository_id, name) WHERE lifetime_end_ms IS NULL DO NOTHING;
SELECT id FROM target
"""

_NOT_DELETED = "m.deleted_at IS NULL"
# The tag pointed to the manifest within the time for which the namespace keeps its history.
_RESTORABLE = f"""EXISTS (
    SELECT FROM tag t JOIN repository r ON r.id = t.repository_id
    JOIN "user" n ON n.id = r.namespace_user_id
    WHERE t.manifest_id = m.id AND t.name = %(tag)s AND (
        {END_MS} IS NULL OR {END_MS} >
        {NOW_MS} - 1000 * coalesce(n.tag_expiration_s, %(expiration)s)))"""

# Delete past entries of a tag.
_EXPIRE = f"""
DELETE FROM tag USING manifest m
WHERE tag.repository_id = {REPOSITORY_ID} AND tag.name = %(tag)s AND m.id = tag.manifest_id
  AND (%(digest)s IS NULL OR m.digest = %(digest)s) AND NOT {alive("tag")}
RETURNING tag.id
"""


_POSITION = re.compile(r"([0-9]{1,15})\.([0-9]{1,18})\.(.+)")


@dataclass(frozen=True)
class Position:
    """A position in the order of the history, which stays valid while entries come and go."""

    start_ms: int
    id: int
    name: str

    @classmethod
    def parse(cls, text: str) -> Position:
        """Parse the text of a position. Raises InvalidName."""
        found = _POSITION.fullmatch(text)
        if found is None or not is_tag(found[3]):
            raise InvalidName("next_page: must be the value of the previous page")
        return cls(int(found[1]), int(found[2]), found[3])

    def __str__(self) -> str:
        """Return the text that `parse` accepts."""
        return f"{self.start_ms}.{self.id}.{self.name}"


@dataclass(frozen=True)
class TagEntry:
    """A period in which a tag pointed to a manifest.

    Attributes:
        id: The number of the entry.
        name: The tag.
        start_ms: The start, in milliseconds since the epoch.
        end_ms: The end, in milliseconds since the epoch; None if it is not known.
        digest: The manifest's digest.
        is_list: Whether the manifest is an index.
        size: The size of the manifest's blobs, in bytes.
        reversion: Whether the tag was restored to an earlier manifest.
        listed: The digests of the manifests in an index, and whether each can be pulled; None for
            other manifests.
        content: The manifest, if it was requested and is not large.
        pulls: The number of pulls by the tag, and `last_pull` the time of the last one; None if
            they were not requested or there are none.
        scans: The stored state and the counts by severity of the image's security scan, or of those
            that an index lists; None if they were not requested.
    """

    id: int
    name: str
    start_ms: int
    end_ms: int | None
    digest: str
    is_list: bool
    size: int
    reversion: bool
    listed: dict[str, bool] | None = None
    content: bytes | None = field(default=None, repr=False)
    pulls: int | None = None
    last_pull: datetime | None = None
    scans: list[tuple[int | None, dict[str, int] | None]] | None = None

    @property
    def position(self) -> Position:
        """The position after which the entries that follow this one begin."""
        return Position(self.start_ms, self.id, self.name)


class TagHistory:
    """The history of all tags."""

    def __init__(self, database: Database, redis: SharedRedis, tag_expiration_s: int) -> None:
        self._database = database
        self._redis = redis
        self._expiration = tag_expiration_s

    def list(
        self,
        name: RepositoryName,
        *,
        active: bool = False,
        tag: str | None = None,
        like: str | None = None,
        limit: int = 100,
        page: int = 1,
        after: Position | None = None,
        details: bool = False,
        pulls: bool = False,
        security: bool = False,
    ) -> tuple[list[TagEntry], bool]:
        """List the history of a repository's tags.

        Args:
            name: The repository.
            active: Whether to return only current entries.
            tag: The tag to return entries for; None for all.
            like: A part of the tags' names; None for all.
            limit: The size of a page.
            page: The number of the page, from 1.
            after: The position of the last entry of the previous page, instead of a number.
            details: Whether to return the contents of manifests.
            pulls: Whether to return the pulls of tags.
            security: Whether to return the security scans of images.

        Returns:
            The entries, newest first, and whether there are more.
        """
        rows = self._database.read(
            _LIST,
            {
                **name_parameters(name),
                "active": active,
                "tag": tag,
                "like": like,
                "indexes": sorted(INDEX_TYPES),
                "limit": limit + 1,
                "offset": 0 if after else (page - 1) * limit,
                "after_ms": after and after.start_ms,
                "after_id": after and after.id,
                "after_name": after and after.name,
                "details": details,
                "bytes": _BYTES_MAXIMUM,
                "pulls": pulls,
                "security": security,
            },
        )
        return [_entry(row) for row in rows[:limit]], len(rows) > limit

    def point(self, name: RepositoryName, tag: str, digest: str) -> None:
        """Point a tag to a manifest of the repository.

        Raises:
            ManifestUnknown: The repository has no such manifest.
        """
        self._set(name, tag, digest, _NOT_DELETED, reversion=False)

    def restore(self, name: RepositoryName, tag: str, digest: str) -> None:
        """Point a tag to a manifest that it pointed to earlier, even if that was deleted.

        Raises:
            ManifestUnknown: The tag did not point to the manifest within the time for which the
                namespace keeps its history.
        """
        self._set(name, tag, digest, _RESTORABLE, reversion=True)

    def expire(self, name: RepositoryName, tag: str, digest: str | None) -> None:
        """Delete past entries of a tag, so that they cannot be restored.

        Args:
            name: The repository.
            tag: The tag.
            digest: The manifest whose entries are deleted; None for all.

        Raises:
            ManifestUnknown: There are no such entries.
        """
        values = {**name_parameters(name), "tag": tag, "digest": digest}
        if not self._database.run(_EXPIRE, values):
            raise ManifestUnknown(f"the tag '{tag}' of '{name}' has no such history")

    def _set(
        self, name: RepositoryName, tag: str, digest: str, condition: str, *, reversion: bool
    ) -> None:
        rows = self._database.run(
            _SET.format(condition=condition),
            {
                **name_parameters(name),
                "tag": tag,
                "digest": digest,
                "expiration": self._expiration,
                "reversion": reversion,
            },
        )
        if not rows:
            raise ManifestUnknown(f"'{name}' has no manifest '{digest}' that '{tag}' can be set to")
        self._redis.delete(*manifest_cache_keys(name, digest))


def _entry(row: Sequence[Any]) -> TagEntry:
    entry = TagEntry(*row)
    return entry if entry.content is None else replace(entry, content=bytes(entry.content))
