"""Repositories that somebody marked, to find them again."""

from __future__ import annotations

from atoll.db.pool import Database
from atoll.names import RepositoryName
from atoll.registry.errors import RepositoryUnknown
from atoll.registry.repositories import REPOSITORY_ID, name_parameters


class Stars:
    """The stars of all users."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, user_id: int, name: RepositoryName) -> None:
        """Mark a repository, or raise RepositoryUnknown."""
        rows = self._database.run(
            f"""
            INSERT INTO star (user_id, repository_id)
            SELECT %(user)s, found.id FROM (SELECT {REPOSITORY_ID} AS id) AS found
            WHERE found.id IS NOT NULL
            ON CONFLICT (user_id, repository_id) DO UPDATE SET created_at = star.created_at
            RETURNING repository_id
            """,
            {**name_parameters(name), "user": user_id},
        )
        if not rows:
            raise RepositoryUnknown(f"there is no repository '{name}'")

    def remove(self, user_id: int, name: RepositoryName) -> None:
        """Take a mark away, or raise RepositoryUnknown if there is none."""
        rows = self._database.run(
            f"DELETE FROM star WHERE user_id = %(user)s AND repository_id = {REPOSITORY_ID}"
            " RETURNING repository_id",
            {**name_parameters(name), "user": user_id},
        )
        if not rows:
            raise RepositoryUnknown(f"'{name}' is not starred")
