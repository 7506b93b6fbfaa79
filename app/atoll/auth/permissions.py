"""Permissions on repositories, and the default permissions of organizations."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from atoll.auth.users import UserUnknown
from atoll.db.pool import Database
from atoll.names import RepositoryName

USER, TEAM = "user", "team"

_REPOSITORY_ID = """(SELECT r.id FROM repository r JOIN "user" n ON n.id = r.namespace_user_id
                  WHERE n.username = %(namespace)s AND r.name = %(name)s)"""
# Users, robots of the repository's namespace and teams of its organization; no other robots or
# teams can have permissions.
_DELEGATE_IDS = {
    USER: """(SELECT u.id FROM "user" u LEFT JOIN "user" o ON o.id = u.robot_owner_id
              WHERE u.username = %(delegate)s AND NOT u.organization
                AND (o.id IS NULL OR o.username = %(namespace)s))""",
    TEAM: """(SELECT t.id FROM team t JOIN "user" o ON o.id = t.organization_id
              WHERE o.username = %(namespace)s AND t.name = %(delegate)s)""",
}
_COLUMN = {USER: "user_id", TEAM: "team_id"}

# Collect the roles that a user has directly, by its teams, and by administering the namespace.
_TRANSITIVE_ROLES = f"""
WITH grantee AS (
    SELECT id FROM "user" WHERE username = %(username)s AND NOT organization
), teams AS (
    SELECT t.id, t.role, t.organization_id FROM team t JOIN teammember m ON m.team_id = t.id
    WHERE m.user_id = (SELECT id FROM grantee)
), repository AS (
    SELECT id, namespace_user_id FROM repository WHERE id = {_REPOSITORY_ID}
)
SELECT EXISTS (SELECT FROM grantee), array(
    SELECT p.role FROM repositorypermission p JOIN repository r ON r.id = p.repository_id
    WHERE p.user_id = (SELECT id FROM grantee) OR p.team_id IN (SELECT id FROM teams)
    UNION
    SELECT 'admin' FROM repository r WHERE r.namespace_user_id = (SELECT id FROM grantee)
       OR r.namespace_user_id IN (SELECT organization_id FROM teams WHERE role = 'admin')
)
"""

_PROTOTYPES = """
SELECT p.uuid, p.role, activating.username, activating.robot_owner_id IS NOT NULL,
       coalesce(u.username, t.name), t.id IS NOT NULL, u.robot_owner_id IS NOT NULL
FROM permissionprototype p JOIN "user" o ON o.id = p.organization_id
LEFT JOIN "user" activating ON activating.id = p.activating_user_id
LEFT JOIN "user" u ON u.id = p.delegate_user_id
LEFT JOIN team t ON t.id = p.delegate_team_id
WHERE o.username = %(namespace)s ORDER BY p.id
"""


class DelegateUnknown(Exception):
    """There is no such user, robot or team, or it has no such permission."""


class PrototypeUnknown(Exception):
    """The organization has no such default permission."""


@dataclass(frozen=True)
class Permission:
    """The role of a user, robot or team on a repository."""

    delegate: str
    kind: str
    role: str
    is_robot: bool


@dataclass(frozen=True)
class Prototype:
    """A default permission of an organization, which repositories get when they are created."""

    uuid: UUID
    role: str
    activating_user: str | None
    activating_is_robot: bool
    delegate: str
    delegate_is_team: bool
    delegate_is_robot: bool


class Permissions:
    """The permissions on all repositories."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def transitive(self, repository: RepositoryName, username: str) -> list[str]:
        """Return all roles that a user or robot has on a repository, directly or by its teams.

        Raises:
            UserUnknown: There is no such user or robot.
        """
        known, roles = self._database.read(
            _TRANSITIVE_ROLES, {**_names(repository), "username": username}
        )[0]
        if not known:
            raise UserUnknown(f"there is no user '{username}'")
        return sorted(roles)

    def list(self, repository: RepositoryName, kind: str) -> list[Permission]:
        """Return the permissions of users or of teams (`kind`) on a repository, by name."""
        rows = self._database.read(
            f"""
            SELECT coalesce(u.username, t.name), p.role, u.robot_owner_id IS NOT NULL
            FROM repositorypermission p
            LEFT JOIN "user" u ON u.id = p.user_id LEFT JOIN team t ON t.id = p.team_id
            WHERE p.repository_id = {_REPOSITORY_ID} AND p.{_COLUMN[kind]} IS NOT NULL ORDER BY 1
            """,
            _names(repository),
        )
        return [Permission(name, kind, role, robot) for name, role, robot in rows]

    def get(self, repository: RepositoryName, kind: str, delegate: str) -> Permission:
        """Return the permission of one user or team.

        Raises:
            DelegateUnknown: It has no permission on the repository.
        """
        for permission in self.list(repository, kind):
            if permission.delegate == delegate:
                return permission
        raise DelegateUnknown(f"'{delegate}' has no permission on '{repository}'")

    def put(self, repository: RepositoryName, kind: str, delegate: str, role: str) -> None:
        """Grant a role to a user or team, in place of the one that it had.

        Raises:
            DelegateUnknown: There is no such user or team, or it belongs to another namespace.
        """
        column = _COLUMN[kind]
        rows = self._database.run(
            f"""
            INSERT INTO repositorypermission (repository_id, {column}, role)
            SELECT repository.id, delegate.id, %(role)s
            FROM (SELECT {_REPOSITORY_ID} AS id) AS repository,
                 (SELECT {_DELEGATE_IDS[kind]} AS id) AS delegate
            WHERE repository.id IS NOT NULL AND delegate.id IS NOT NULL
            ON CONFLICT (repository_id, {column}) DO UPDATE SET role = EXCLUDED.role
            RETURNING id
            """,
            {**_names(repository), "delegate": delegate, "role": role},
        )
        if not rows:
            raise DelegateUnknown(f"there is no {kind} '{delegate}' that can have permissions here")

    def delete(self, repository: RepositoryName, kind: str, delegate: str) -> None:
        """Revoke the permission of a user or team.

        Raises:
            DelegateUnknown: It has no permission on the repository.
        """
        rows = self._database.run(
            f"""
            DELETE FROM repositorypermission
            WHERE repository_id = {_REPOSITORY_ID} AND {_COLUMN[kind]} = {_DELEGATE_IDS[kind]}
            RETURNING id
            """,
            {**_names(repository), "delegate": delegate},
        )
        if not rows:
            raise DelegateUnknown(f"'{delegate}' has no permission on '{repository}'")


class Prototypes:
    """The default permissions of all organizations."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(self, organization: str) -> list[Prototype]:
        """Return an organization's default permissions, oldest first."""
        rows = self._database.read(_PROTOTYPES, {"namespace": organization})
        return [Prototype(*row) for row in rows]

    def get(self, organization: str, uuid: UUID) -> Prototype:
        """Return a default permission.

        Raises:
            PrototypeUnknown: The organization has no such default permission.
        """
        for prototype in self.list(organization):
            if prototype.uuid == uuid:
                return prototype
        raise PrototypeUnknown(f"'{organization}' has no default permission {uuid}")

    def create(
        self, organization: str, role: str, activating_user: str | None, kind: str, delegate: str
    ) -> Prototype:
        """Create a default permission.

        Args:
            organization: The organization.
            role: The role that is granted.
            activating_user: The user whose new repositories get the permission; None for all.
            kind: USER or TEAM.
            delegate: The user, robot or team that is granted the role.

        Raises:
            DelegateUnknown: There is no such user, robot or team in the organization.
        """
        rows = self._database.run(
            f"""
            INSERT INTO permissionprototype
                (organization_id, activating_user_id, delegate_{_COLUMN[kind]}, role)
            SELECT o.id, activating.id, delegate.id, %(role)s
            FROM "user" o
            CROSS JOIN (SELECT {_DELEGATE_IDS[kind]} AS id) AS delegate
            LEFT JOIN "user" activating
                ON activating.username = %(activating)s AND NOT activating.organization
            WHERE o.username = %(namespace)s AND o.organization AND delegate.id IS NOT NULL
              AND (%(activating)s IS NULL OR activating.id IS NOT NULL)
            RETURNING uuid
            """,
            {
                "namespace": organization,
                "activating": activating_user,
                "delegate": delegate,
                "role": role,
            },
        )
        if not rows:
            raise DelegateUnknown("there is no such user or team")
        return self.get(organization, rows[0][0])

    def change(self, organization: str, uuid: UUID, role: str) -> Prototype:
        """Change the role of a default permission.

        Raises:
            PrototypeUnknown: The organization has no such default permission.
        """
        self._database.run(
            """
            UPDATE permissionprototype SET role = %(role)s
            WHERE uuid = %(uuid)s
              AND organization_id = (SELECT id FROM "user" WHERE username = %(namespace)s)
            """,
            {"role": role, "uuid": uuid, "namespace": organization},
        )
        return self.get(organization, uuid)

    def delete(self, organization: str, uuid: UUID) -> None:
        """Delete a default permission.

        Raises:
            PrototypeUnknown: The organization has no such default permission.
        """
        rows = self._database.run(
            """
            DELETE FROM permissionprototype
            WHERE uuid = %(uuid)s
              AND organization_id = (SELECT id FROM "user" WHERE username = %(namespace)s)
            RETURNING id
            """,
            {"uuid": uuid, "namespace": organization},
        )
        if not rows:
            raise PrototypeUnknown(f"'{organization}' has no default permission {uuid}")


def _names(repository: RepositoryName) -> dict[str, object]:
    return {"namespace": repository.namespace, "name": repository.name}
