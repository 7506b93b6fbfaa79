"""What tags meant, and when: the time machine. A tag can be brought back for a while."""

from __future__ import annotations

from dataclasses import dataclass

from atoll.db.pool import Database
from atoll.db.shared_redis import SharedRedis
from atoll.names import RepositoryName
from atoll.registry.errors import ManifestUnknown
from atoll.registry.manifests import manifest_cache_keys
from atoll.registry.repositories import REPOSITORY_ID, name_parameters
from atoll.registry.tag_locks import lock_tag
from atoll.registry.tags import END_MS, NOW_MS, alive

_INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)

_LIST = f"""
SELECT t.name, t.lifetime_start_ms, {END_MS}, m.digest, m.media_type = ANY(%(indexes)s),
       (SELECT coalesce(sum(s.image_size), 0)::bigint FROM manifestblob mb
        JOIN imagestorage s ON s.id = mb.blob_id WHERE mb.manifest_id = m.id),
       t.reversion
FROM tag t JOIN manifest m ON m.id = t.manifest_id
WHERE t.repository_id = {REPOSITORY_ID}
  AND (NOT %(active)s OR {alive("t")})
  AND (%(tag)s IS NULL OR t.name = %(tag)s)
  AND (%(like)s IS NULL OR strpos(t.name, %(like)s) > 0)
ORDER BY t.lifetime_start_ms DESC, t.name, t.id DESC LIMIT %(limit)s OFFSET %(offset)s
"""

# One string, one transaction. The first lock is the one that a push of the tag takes, the second
# keeps the manifest from being collected.
_SET = f"""
{lock_tag(REPOSITORY_ID, "%(tag)s")}
CREATE TEMPORARY TABLE wanted ON COMMIT DROP AS
SELECT m.id, m.repository_id FROM manifest m
WHERE m.repository_id = {REPOSITORY_ID} AND m.digest = %(digest)s AND {{condition}}
FOR KEY SHARE OF m;
UPDATE manifest SET deleted_at = NULL FROM wanted WHERE manifest.id = wanted.id;
UPDATE tag SET lifetime_end_ms = least({NOW_MS}, tag.expires_ms) FROM wanted
WHERE tag.repository_id = wanted.repository_id AND tag.name = %(tag)s
  AND tag.lifetime_end_ms IS NULL
  AND (tag.manifest_id <> wanted.id OR tag.expires_ms IS NOT NULL);
INSERT INTO tag (repository_id, name, manifest_id, lifetime_start_ms, reversion)
SELECT repository_id, %(tag)s, id, {NOW_MS}, %(reversion)s FROM wanted
ON CONFLICT (repository_id, name) WHERE lifetime_end_ms IS NULL DO NOTHING;
SELECT id FROM wanted
"""

_ALIVE = "m.deleted_at IS NULL"
# The tag meant the manifest until no longer ago than the namespace keeps its past.
_RESTORABLE = f"""EXISTS (
    SELECT FROM tag t JOIN repository r ON r.id = t.repository_id
    JOIN "user" n ON n.id = r.namespace_user_id
    WHERE t.manifest_id = m.id AND t.name = %(tag)s AND (
        {END_MS} IS NULL OR {END_MS} >
        {NOW_MS} - 1000 * coalesce(n.tag_expiration_s, %(expiration)s)))"""

_EXPIRE = f"""
DELETE FROM tag USING manifest m
WHERE tag.repository_id = {REPOSITORY_ID} AND tag.name = %(tag)s AND m.id = tag.manifest_id
  AND (%(digest)s IS NULL OR m.digest = %(digest)s) AND NOT {alive("tag")}
RETURNING tag.id
"""


@dataclass(frozen=True)
class TagEntry:
    """What a tag meant from START to END, in ms since 1970; without END it does so for ever.

    REVERSION: it meant that before, and was brought back.
    """

    name: str
    start_ms: int
    end_ms: int | None
    digest: str
    is_list: bool
    size: int
    reversion: bool


class History:
    """The past and the present of all tags."""

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
    ) -> tuple[list[TagEntry], bool]:
        """Return a page of entries, newest first, and whether there are more."""
        rows = self._database.read(
            _LIST,
            {
                **name_parameters(name),
                "active": active,
                "tag": tag,
                "like": like,
                "indexes": list(_INDEX_TYPES),
                "limit": limit + 1,
                "offset": (page - 1) * limit,
            },
        )
        return [TagEntry(*row) for row in rows[:limit]], len(rows) > limit

    def point(self, name: RepositoryName, tag: str, digest: str) -> None:
        """Let a tag mean a manifest of the repository, or raise ManifestUnknown."""
        self._set(name, tag, digest, _ALIVE, reversion=False)

    def restore(self, name: RepositoryName, tag: str, digest: str) -> None:
        """Let a tag mean again what it meant within the time that the namespace keeps its past.

        Raises ManifestUnknown.
        """
        self._set(name, tag, digest, _RESTORABLE, reversion=True)

    def expire(self, name: RepositoryName, tag: str, digest: str | None) -> None:
        """Forget what a tag meant (with DIGEST only that), or raise ManifestUnknown."""
        values = {**name_parameters(name), "tag": tag, "digest": digest}
        if not self._database.run(_EXPIRE, values):
            raise ManifestUnknown(f"the tag '{tag}' of '{name}' has no such past")

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
            raise ManifestUnknown(f"'{name}' has no manifest '{digest}' that '{tag}' can mean")
        self._redis.delete(*manifest_cache_keys(name, digest))
