"""Look up repositories by name, and create them, also at the first push."""

from __future__ import annotations

from atoll.auth.access import PUSH, Access, Grant
from atoll.auth.users import InvalidUsername, create_organization
from atoll.config import Bundle
from atoll.db.pool import Database
from atoll.names import RepositoryName
from atoll.registry.errors import Denied, RepositoryReplaced

# SQL expression for a repository's id, or null; its parameters are `name_parameters`. A bound name
# refers to the repository with its id only, and only while the namespace is enabled.
REPOSITORY_ID = """(
    SELECT r.id FROM repository r JOIN "user" n ON n.id = r.namespace_user_id
    WHERE n.username = %(namespace)s AND r.name = %(name)s
      AND (%(bound_id)s::bigint IS NULL OR r.id = %(bound_id)s AND n.enabled))"""

# SQL condition that the user %(username)s may change the repository with the given id as far as its
# state is concerned. A mirror is changed by its robot only.
WRITABLE = """(
    SELECT r.state = 'NORMAL' OR r.state = 'MIRROR' AND EXISTS (
        SELECT FROM repomirrorconfig mirror
        JOIN "user" robot ON robot.id = mirror.internal_robot_id
        WHERE mirror.repository_id = r.id AND robot.username = %(username)s)
    FROM repository r WHERE r.id = {id})"""


def name_parameters(name: RepositoryName) -> dict[str, object]:
    """Return the parameters of REPOSITORY_ID."""
    return {"namespace": name.namespace, "name": name.name, "bound_id": name.id}


# Create a repository. Its creator gets the role admin, unless the namespace is the creator's own.
# The default permissions of the organization are added, with the highest role for each delegate.
_CREATE = """
WITH new_repository AS (
    INSERT INTO repository (namespace_user_id, name, visibility, description)
    SELECT id, %(name)s, %(visibility)s, %(description)s FROM "user"
    WHERE username = %(namespace)s AND robot_owner_id IS NULL
    ON CONFLICT (namespace_user_id, name) DO NOTHING RETURNING id, namespace_user_id
), creator AS (
    SELECT id FROM "user" WHERE username = %(creator)s
), initial_permissions AS (
    SELECT new_repository.id AS repository_id, creator.id AS user_id, NULL::bigint AS team_id,
           'admin' AS role
    FROM new_repository, creator WHERE creator.id <> new_repository.namespace_user_id
    UNION ALL
    SELECT new_repository.id, p.delegate_user_id, p.delegate_team_id, p.role
    FROM new_repository
    JOIN permissionprototype p ON p.organization_id = new_repository.namespace_user_id
    WHERE p.activating_user_id IS NULL OR p.activating_user_id = (SELECT id FROM creator)
), new_permissions AS (
    INSERT INTO repositorypermission (repository_id, user_id, team_id, role)
    SELECT DISTINCT ON (repository_id, user_id, team_id) repository_id, user_id, team_id, role
    FROM initial_permissions
    ORDER BY repository_id, user_id, team_id,
             array_position(ARRAY['admin', 'write', 'read'], role)
)
SELECT id FROM new_repository
"""


def raise_if_read_only(database: Database, name: RepositoryName, username: str | None) -> None:
    """Raise Denied if the repository exists and its state permits no changes by the user.

    Called after a change that affected no rows, because it takes a round trip.
    """
    writable = database.read(
        f"SELECT {WRITABLE.format(id=REPOSITORY_ID)}",
        {**name_parameters(name), "username": username},
    )
    if writable[0][0] is False:
        raise read_only(name)


def read_only(name: RepositoryName) -> Denied:
    """Return the error for a change that the state of a repository does not permit."""
    return Denied(f"the repository '{name}' is read only or a mirror, which its robot changes")


class Repositories:
    """Creates repositories."""

    def __init__(self, database: Database, access: Access, bundle: Bundle) -> None:
        self._database = database
        self._access = access
        self._visibility = "private" if bundle.create_private_repo_on_push else "public"

    def create_for_push(self, username: str | None, name: RepositoryName) -> RepositoryName:
        """Create a repository for a push, and its namespace if that is permitted.

        The user's current permissions apply, not those of the token.

        Returns:
            The name, bound to the repository, which a concurrent request may have created.

        Raises:
            RepositoryReplaced: The name is bound to a repository that no longer has it.
            Denied: The user lacks push permission, or the repository is read-only.
        """
        if name.id:
            raise_if_read_only(self._database, name, username)
            raise RepositoryReplaced(name)
        if username is None:
            raise Denied(f"you may not create the repository '{name}'")
        grant = self._require_push(username, name)
        try:
            created = create_organization(self._database, name.namespace, username)
        except InvalidUsername as error:
            raise Denied(str(error)) from error
        if not created and grant.role is None:
            # Another user may have created the namespace in the meantime.
            self._require_push(username, name)
        repository_id = self._insert(name, self._visibility, username, "")
        if repository_id is None:
            repository_id = self._require_push(username, name).id
        if repository_id is None:
            raise RepositoryReplaced(name)
        return name.bound(repository_id)

    def _require_push(self, username: str, name: RepositoryName) -> Grant:
        """Return the user's grant.

        Raises:
            Denied: The grant does not permit pushes.
        """
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
        """Create a repository in an existing namespace, and return whether it is new.

        Args:
            name: The repository's name.
            visibility: `public` or `private`.
            creator: The user who gets the role admin; None for no one.
            description: The description.
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
