"""List, expire and delete tags. Pushes write tags together with their manifest (`manifests`)."""

from __future__ import annotations

from atoll.db.pool import Database
from atoll.names import RepositoryName
from atoll.registry.errors import ManifestUnknown, RepositoryUnknown
from atoll.registry.repositories import REPOSITORY_ID, WRITABLE, name_parameters, raise_if_read_only

NOW_MS = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
# SQL expression for the end of the row `t` in a tag's history, which may be in the future; null if
# there is none.
END_MS = "coalesce(t.lifetime_end_ms, t.expires_ms)"


def alive(tag: str) -> str:
    """Return the condition that the row `tag` of a tag's history is the current one."""
    return f"({tag}.lifetime_end_ms IS NULL AND coalesce({tag}.expires_ms > {NOW_MS}, true))"


# List a page of tags, in byte order as the specification requires, regardless of the database's
# collation.
_LIST = f"""
SELECT repository.id, array(
    SELECT t.name FROM tag t
    WHERE t.repository_id = repository.id AND {alive("t")}
      AND (%(last)s IS NULL OR t.name COLLATE "C" > %(last)s)
    ORDER BY t.name COLLATE "C" LIMIT %(limit)s)
FROM (SELECT {REPOSITORY_ID} AS id) AS repository
"""

# End the current row of a tag.
_DELETE = f"""
UPDATE tag SET lifetime_end_ms = {NOW_MS}
WHERE repository_id = {REPOSITORY_ID} AND name = %(tag)s AND {alive("tag")}
  AND {WRITABLE.format(id="repository_id")}
RETURNING id
"""

# Set or remove the expiration of a tag.
_EXPIRE = f"""
UPDATE tag SET expires_ms = %(expires_ms)s
WHERE repository_id = {REPOSITORY_ID} AND name = %(tag)s AND {alive("tag")}
  AND coalesce(%(expires_ms)s::bigint > {NOW_MS}, true)
RETURNING id
"""

# Set the expiration of all tags of a manifest.
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
        """List tags, in byte order.

        Args:
            name: The repository.
            limit: The maximum number of tags; None for no limit.
            last: The tag after which the list begins; None for the beginning.

        Returns:
            The tags, and whether there are more.

        Raises:
            RepositoryUnknown: There is no such repository.
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
        """Set or remove the expiration of a tag.

        Args:
            name: The repository.
            tag: The tag.
            expires_ms: The time of expiration, in milliseconds since the epoch; None to remove it.

        Raises:
            ManifestUnknown: There is no such tag, or the time has passed.
        """
        values = {**name_parameters(name), "tag": tag, "expires_ms": expires_ms}
        if not self._database.run(_EXPIRE, values):
            raise ManifestUnknown(f"'{name}' has no tag '{tag}' that can expire then")

    def expire_all_of(self, name: RepositoryName, digest: str, seconds: int) -> None:
        """Set the expiration of all tags of a manifest to `seconds` from now."""
        values = {**name_parameters(name), "digest": digest, "seconds": seconds}
        self._database.run(_EXPIRE_ALL_OF, values)

    def delete(self, name: RepositoryName, tag: str, username: str | None = None) -> None:
        """Delete a tag, but not its manifest.

        Args:
            name: The repository.
            tag: The tag.
            username: The user who deletes it; None for anonymous clients.

        Raises:
            ManifestUnknown: The repository has no such tag.
            Denied: The repository is read-only.
        """
        if not self._database.run(
            _DELETE, {**name_parameters(name), "tag": tag, "username": username}
        ):
            raise_if_read_only(self._database, name, username)
            raise ManifestUnknown(f"'{name}' has no tag '{tag}'")
