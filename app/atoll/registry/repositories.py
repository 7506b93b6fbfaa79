"""Repositories: look them up by name, and create them at the first push."""

from __future__ import annotations

from atoll.auth.access import PUSH, Access, Grant
from atoll.auth.users import InvalidUsername, create_organization
from atoll.config import Bundle
from atoll.db.pool import Database
from atoll.names import RepositoryName
from atoll.registry.errors import Denied, RepositoryReplaced

# An expression for other statements: the repository's id, or null. Takes `name_parameters`. A bound
# name means the repository with its id only, while its namespace is enabled.
REPOSITORY_ID = """(
    SELECT r.id FROM repository r JOIN "user" n ON n.id = r.namespace_user_id
    WHERE n.username = %(namespace)s AND r.name = %(name)s
      AND (%(bound_id)s::bigint IS NULL OR r.id = %(bound_id)s AND n.enabled))"""

# A condition: the repository with this id may be changed.
WRITABLE = "(SELECT r.state = 'NORMAL' FROM repository r WHERE r.id = {id})"


def name_parameters(name: RepositoryName) -> dict[str, object]:
    """Return the parameters that REPOSITORY_ID takes."""
    return {"namespace": name.namespace, "name": name.name, "bound_id": name.id}


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


def raise_if_read_only(database: Database, name: RepositoryName) -> None:
    """Raise Denied if the repository exists and its state allows no changes.

    For a change that changed nothing: it costs a round trip.
    """
    writable = database.read(f"SELECT {WRITABLE.format(id=REPOSITORY_ID)}", name_parameters(name))
    if writable[0][0] is False:
        raise Denied(f"the repository '{name}' is read only")


class Repositories:
    """Makes repositories."""

    def __init__(self, database: Database, access: Access, bundle: Bundle) -> None:
        self._database = database
        self._access = access
        self._visibility = "private" if bundle.create_private_repo_on_push else "public"

    def create_for_push(self, username: str | None, name: RepositoryName) -> RepositoryName:
        """Create the repository that a push needs, and its namespace where that is allowed.

        The user's current permissions decide, not those of the token.

        Returns:
            The name, bound to the repository. If another request was faster, it is that one's.

        Raises:
            RepositoryReplaced: the name is bound to a repository that it does not mean any more.
            Denied: the user may not push there.
        """
        if name.id:
            raise_if_read_only(self._database, name)
            raise RepositoryReplaced(name)
        if username is None:
            raise Denied(f"you may not create the repository '{name}'")
        grant = self._require_push(username, name)
        try:
            created = create_organization(self._database, name.namespace, username)
        except InvalidUsername as error:
            raise Denied(str(error)) from error
        if not created and grant.role is None:
            # Another user may have created the namespace meanwhile.
            self._require_push(username, name)
        repository_id = self._insert(name, self._visibility, username, "")
        if repository_id is None:
            repository_id = self._require_push(username, name).id
        if repository_id is None:
            raise RepositoryReplaced(name)
        return name.bound(repository_id)

    def _require_push(self, username: str, name: RepositoryName) -> Grant:
        """Return the user's grant if it allows a push, or raise Denied."""
        grant = self._access.grants(username, [name])[0]
        if PUSH not in grant.actions:
            raise Denied(f"you may not push to the repository '{name}'")
        return grant

    def create(
        self,
        name: RepositoryName,
        visibility: str,
        creator: str | None = None,
        description: str = "",
    ) -> bool:
        """Create a repository in an existing namespace; return whether it is new.

        CREATOR may administer it, and the organization's default permissions apply.
        """
        return self._insert(name, visibility, creator, description) is not None

    def _insert(
        self, name: RepositoryName, visibility: str, creator: str | None, description: str
    ) -> int | None:
        """Create a repository and return its id; None if the name is taken."""
        rows = self._database.run(
            _CREATE,
            {
                **name_parameters(name),
                "visibility": visibility,
                "creator": creator,
                "description": description,
            },
        )
        return int(rows[0][0]) if rows else None
