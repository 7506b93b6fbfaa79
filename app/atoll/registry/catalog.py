"""The catalog of the repositories that a user can pull from."""

from __future__ import annotations

from atoll.auth.visibility import readable_by
from atoll.db.pool import Database

# List readable repositories by full name.
_LIST = f"""
SELECT full_name FROM (
    SELECT n.username || '/' || r.name AS full_name, r.id, r.visibility, n.id AS namespace_id
    FROM repository r JOIN "user" n ON n.id = r.namespace_user_id
) AS r
WHERE {readable_by("r", by_id=True)} AND (%(last)s IS NULL OR full_name COLLATE "C" > %(last)s)
ORDER BY full_name COLLATE "C" LIMIT %(limit)s
"""


class Catalog:
    """Lists the repositories of the registry."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(
        self,
        username: str | None,
        *,
        user_id: int | None = None,
        everything: bool,
        limit: int,
        last: str | None,
    ) -> tuple[list[str], bool]:
        """List the repositories that a user can pull from, ordered by name.

        Args:
            username: The user's name; None for anonymous clients.
            user_id: The expected id of the account. An account of the same name with another id
                is treated as anonymous.
            everything: Whether to ignore permissions, for superusers.
            limit: The maximum number of names.
            last: The name after which the list begins; None for the beginning.

        Returns:
            The names, and whether there are more.
        """
        rows = self._database.read(
            _LIST,
            {
                "username": username,
                "user_id": user_id,
                "everything": everything,
                "last": last,
                "limit": limit + 1,
            },
        )
        names = [row[0] for row in rows]
        return names[:limit], len(names) > limit
