"""The catalog: the repositories that somebody may pull from, by name."""

from __future__ import annotations

from atoll.auth.visibility import readable_by
from atoll.db.pool import Database

_LIST = f"""
SELECT full_name FROM (
    SELECT n.username || '/' || r.name AS full_name, r.id, r.visibility, n.id AS namespace_id
    FROM repository r JOIN "user" n ON n.id = r.namespace_user_id
) AS r
WHERE {readable_by("r")} AND (%(last)s IS NULL OR full_name COLLATE "C" > %(last)s)
ORDER BY full_name COLLATE "C" LIMIT %(limit)s
"""


class Catalog:
    """All repositories."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(
        self, username: str | None, *, everything: bool, limit: int, last: str | None
    ) -> tuple[list[str], bool]:
        """Return up to LIMIT names after LAST that the user may pull, and whether there are more.

        With EVERYTHING, for a superuser, whatever the permissions say.
        """
        rows = self._database.read(
            _LIST,
            {"username": username, "everything": everything, "last": last, "limit": limit + 1},
        )
        names = [row[0] for row in rows]
        return names[:limit], len(names) > limit
