"""Tags: list and delete. What a tag means is written by `manifests`, with the manifest."""

from __future__ import annotations

from atoll.db.pool import Database
from atoll.names import RepositoryName
from atoll.registry.errors import ManifestUnknown, RepositoryUnknown
from atoll.registry.repositories import REPOSITORY_ID, WRITABLE, name_parameters, raise_if_read_only

NOW_MS = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
# When the row `t` of a tag's history ended, or is to end; null: never.
END_MS = "coalesce(t.lifetime_end_ms, t.expires_ms)"


def alive(tag: str) -> str:
    """Return the condition that the row TAG of a tag's history is what the tag means now."""
    return f"({tag}.lifetime_end_ms IS NULL AND coalesce({tag}.expires_ms > {NOW_MS}, true))"


# Sorted as the specification says, byte by byte, whatever the database's own order is.
_LIST = f"""
SELECT repository.id, array(
    SELECT t.name FROM tag t
    WHERE t.repository_id = repository.id AND {alive("t")}
      AND (%(last)s IS NULL OR t.name COLLATE "C" > %(last)s)
    ORDER BY t.name COLLATE "C" LIMIT %(limit)s)
FROM (SELECT {REPOSITORY_ID} AS id) AS repository
"""

_DELETE = f"""
UPDATE tag SET lifetime_end_ms = {NOW_MS}
WHERE repository_id = {REPOSITORY_ID} AND name = %(tag)s AND {alive("tag")}
  AND {WRITABLE.format(id="repository_id")}
RETURNING id
"""

_EXPIRE = f"""
UPDATE tag SET expires_ms = %(expires_ms)s
WHERE repository_id = {REPOSITORY_ID} AND name = %(tag)s AND {alive("tag")}
  AND coalesce(%(expires_ms)s::bigint > {NOW_MS}, true)
RETURNING id
"""

_EXPIRE_ALL_OF = f"""
UPDATE tag SET expires_ms = {NOW_MS} + 1000 * %(seconds)s
FROM manifest m
WHERE tag.repository_id = {REPOSITORY_ID} AND {alive("tag")}
  AND m.id = tag.manifest_id AND m.digest = %(digest)s
"""


class Tags:
    """The tags of all repositories."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(
        self, name: RepositoryName, limit: int | None, last: str | None
    ) -> tuple[list[str], bool]:
        """Return up to LIMIT tags after LAST, and whether there are more.

        Raises RepositoryUnknown.
        """
        repository_id, tags = self._database.read(
            _LIST,
            {
                **name_parameters(name),
                "last": last,
                "limit": None if limit is None else limit + 1,
            },
        )[0]
        if repository_id is None:
            raise RepositoryUnknown(f"there is no repository '{name}'")
        more = limit is not None and len(tags) > limit
        return tags[:limit], more

    def expire(self, name: RepositoryName, tag: str, expires_ms: int | None) -> None:
        """Let a tag end at a moment that is still to come, in ms since 1970, or never.

        Raises ManifestUnknown if there is no such tag, or the moment has passed.
        """
        values = {**name_parameters(name), "tag": tag, "expires_ms": expires_ms}
        if not self._database.run(_EXPIRE, values):
            raise ManifestUnknown(f"'{name}' has no tag '{tag}' that could end then")

    def expire_all_of(self, name: RepositoryName, digest: str, seconds: int) -> None:
        """Let every tag that means a manifest end after so many seconds."""
        values = {**name_parameters(name), "digest": digest, "seconds": seconds}
        self._database.run(_EXPIRE_ALL_OF, values)

    def delete(self, name: RepositoryName, tag: str) -> None:
        """Delete a tag and leave its manifest.

        Raises ManifestUnknown, or Denied if the repository is read-only.
        """
        if not self._database.run(_DELETE, {**name_parameters(name), "tag": tag}):
            raise_if_read_only(self._database, name)
            raise ManifestUnknown(f"'{name}' has no tag '{tag}'")
