"""Tags: list and delete. What a tag means is written by `manifests`, with the manifest."""

from __future__ import annotations

from atoll.db.pool import Database
from atoll.names import RepositoryName
from atoll.registry.errors import ManifestUnknown, RepositoryUnknown
from atoll.registry.repositories import REPOSITORY_ID, name_parameters

# Sorted as the specification says, byte by byte, whatever the database's own order is.
_LIST = f"""
SELECT repository.id, array(
    SELECT t.name FROM tag t
    WHERE t.repository_id = repository.id AND t.lifetime_end_ms IS NULL
      AND (%(last)s IS NULL OR t.name COLLATE "C" > %(last)s)
    ORDER BY t.name COLLATE "C" LIMIT %(limit)s)
FROM (SELECT {REPOSITORY_ID} AS id) AS repository
"""

_DELETE = f"""
UPDATE tag SET lifetime_end_ms = (extract(epoch FROM clock_timestamp()) * 1000)::bigint
WHERE repository_id = {REPOSITORY_ID} AND name = %(tag)s AND lifetime_end_ms IS NULL
RETURNING id
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

    def delete(self, name: RepositoryName, tag: str) -> None:
        """Delete a tag and leave its manifest, or raise ManifestUnknown."""
        if not self._database.run(_DELETE, {**name_parameters(name), "tag": tag}):
            raise ManifestUnknown(f"'{name}' has no tag '{tag}'")
