"""Repositories: found by name, made by the first push."""

from __future__ import annotations

from atoll.auth.access import Access
from atoll.auth.users import InvalidUsername, create_organization
from atoll.config import Bundle
from atoll.db.pool import Database
from atoll.names import RepositoryName
from atoll.registry.errors import Denied

# An expression for other statements: the repository's id, or null. Takes %(namespace)s, %(name)s.
REPOSITORY_ID = """(
    SELECT r.id FROM repository r JOIN "user" n ON n.id = r.namespace_user_id
    WHERE n.username = %(namespace)s AND r.name = %(name)s)"""


def name_parameters(name: RepositoryName) -> dict[str, object]:
    """Return the parameters that REPOSITORY_ID takes."""
    return {"namespace": name.namespace, "name": name.name}


class Repositories:
    """Makes repositories."""

    def __init__(self, database: Database, access: Access, bundle: Bundle) -> None:
        self._database = database
        self._access = access
        self._visibility = "private" if bundle.create_private_repo_on_push else "public"

    def create_for_push(self, username: str | None, name: RepositoryName) -> None:
        """Make the repository that a push needs, and its namespace where that is allowed.

        A token says what was allowed when it was made, so this asks again. Raises Denied.
        """
        if username is None or not self._access.may_create(username, name):
            raise Denied(f"you may not make the repository '{name}'")
        try:
            create_organization(self._database, name.namespace, username)
        except InvalidUsername as error:
            raise Denied(str(error)) from error
        self.create(name, self._visibility)

    def create(self, name: RepositoryName, visibility: str) -> bool:
        """Make a repository in a namespace that exists; tell whether it is new."""
        rows = self._database.run(
            """
            INSERT INTO repository (namespace_user_id, name, visibility)
            SELECT id, %(name)s, %(visibility)s FROM "user" WHERE username = %(namespace)s
            ON CONFLICT (namespace_user_id, name) DO NOTHING RETURNING id
            """,
            {**name_parameters(name), "visibility": visibility},
        )
        return bool(rows)
