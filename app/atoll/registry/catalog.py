"""The catalog: the repositories that somebody may pull from, by name."""

from __future__ import annotations

from atoll.auth.visibility import readable_by
from atoll.db.pool import Database

_LIST = f"""
SELECT full_name FROM (
    SELECT n.username || '/' || r.name AS full_name, r.id, r.visibility, n.id AS namespace_id
    FROM repository r JOIN "user" n ON n.id = r.namespace_user_id
) AS r
WHERE {readable_by("r", by_id=True)} AND (%(last)s IS NULL OR full_name COLLATE "C" > %(last)s)
ORDER BY full_name COLLATE "C" LIMIT %(limit)s
"""


class Catalog:
    """All repositories."""

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
        """List repositories that a user may pull from, in order.

        Args:
            username: the user's name; None for anonymous clients.
            user_id: with an id, another account that has the same name counts as anonymous.
            everything: whether permissions are ignored, for a superuser.
            limit: the maximum number of names.
            last: the name after which the list begins.

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
