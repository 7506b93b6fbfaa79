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


# The maker gets the role admin, unless the namespace is the maker's own; the organization's default
# permissions apply beside, the best role for each.
_CREATE = """
WITH made AS (
    INSERT INTO repository (namespace_user_id, name, visibility, description)
    SELECT id, %(name)s, %(visibility)s, %(description)s FROM "user"
    WHERE username = %(namespace)s AND robot_owner_id IS NULL
    ON CONFLICT (namespace_user_id, name) DO NOTHING RETURNING id, namespace_user_id
), creator AS (
    SELECT id FROM "user" WHERE username = %(creator)s
), wanted AS (
    SELECT made.id AS repository_id, creator.id AS user_id, NULL::bigint AS team_id, 'admin' AS role
    FROM made, creator WHERE creator.id <> made.namespace_user_id
    UNION ALL
    SELECT made.id, p.delegate_user_id, p.delegate_team_id, p.role
    FROM made JOIN permissionprototype p ON p.organization_id = made.namespace_user_id
    WHERE p.activating_user_id IS NULL OR p.activating_user_id = (SELECT id FROM creator)
), given AS (
    INSERT INTO repositorypermission (repository_id, user_id, team_id, role)
    SELECT DISTINCT ON (repository_id, user_id, team_id) repository_id, user_id, team_id, role
    FROM wanted
    ORDER BY repository_id, user_id, team_id,
             array_position(ARRAY['admin', 'write', 'read'], role)
)
SELECT id FROM made
"""


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
        self.create(name, self._visibility, username)

    def create(
        self,
        name: RepositoryName,
        visibility: str,
        creator: str | None = None,
        description: str = "",
    ) -> bool:
        """Make a repository in a namespace that exists; tell whether it is new.

        CREATOR may administer it, and the organization's default permissions apply.
        """
        rows = self._database.run(
            _CREATE,
            {
                **name_parameters(name),
                "visibility": visibility,
                "creator": creator,
                "description": description,
            },
        )
        return bool(rows)
