"""Starred repositories of users."""

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
        """Star a repository.

        Raises:
            RepositoryUnknown: There is no such repository.
        """
        rows = self._database.run(
            f"""
            INSERT INTO star (user_id, repository_id)
            SELECT %(user)s, repository.id FROM (SELECT {REPOSITORY_ID} AS id) AS repository
            WHERE repository.id IS NOT NULL
            ON CONFLICT (user_id, repository_id) DO UPDATE SET created_at = star.created_at
            RETURNING repository_id
            """,
            {**name_parameters(name), "user": user_id},
        )
        if not rows:
            raise RepositoryUnknown(f"there is no repository '{name}'")

    def remove(self, user_id: int, name: RepositoryName) -> None:
        """Remove a star.

        Raises:
            RepositoryUnknown: The user has not starred the repository.
        """
        rows = self._database.run(
            f"DELETE FROM star WHERE user_id = %(user)s AND repository_id = {REPOSITORY_ID}"
            " RETURNING repository_id",
            {**name_parameters(name), "user": user_id},
        )
        if not rows:
            raise RepositoryUnknown(f"'{name}' is not starred")
