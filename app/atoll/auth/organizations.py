"""Organizations, their teams and members."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import psycopg2.extensions

from atoll.auth.access import Principal
from atoll.auth.organization_roles import Organization, organization_with_roles
from atoll.db.patterns import escape_pattern
from atoll.db.pool import Database

TEAM_ROLES = ("member", "creator", "admin")
_TEAM_NAME = re.compile(r"[a-z][a-z0-9_-]{1,254}")

_ORGANIZATION_WITH_ROLES = organization_with_roles("%(user)s")

_LISTED = 'SELECT username, email, created_at FROM "user" WHERE organization'

_TEAM_ID = """(SELECT t.id FROM team t JOIN "user" o ON o.id = t.organization_id
            WHERE o.username = %(organization)s AND t.name = %(team)s)"""


class OrganizationUnknown(Exception):
    """There is no such organization."""


class TeamUnknown(Exception):
    """The organization has no such team."""


class MemberUnknown(Exception):
    """There is no such user or robot, or it is not in the team."""


class InvalidTeam(ValueError):
    """The name of the team is not valid."""


class LastAdministrator(Exception):
    """The change would leave the organization without an administrator."""

    def __init__(self) -> None:
        super().__init__("the organization would be left without an administrator")


@dataclass(frozen=True)
class ListedOrganization:
    """An organization in a list of all."""

    name: str
    email: str | None
    created_at: datetime


@dataclass(frozen=True)
class Team:
    """A team, with the number of its members and of repositories that it has permissions on."""

    name: str
    role: str
    description: str
    members: int
    repositories: int


class Organizations:
    """All organizations."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, name: str, principal: Principal | None) -> Organization:
        """Return an organization with the principal's roles.

        Raises:
            OrganizationUnknown: There is no such organization.
        """
        rows = self._database.read(
            _ORGANIZATION_WITH_ROLES,
            {"organization": name, "user": principal.id if principal else None},
        )
        if not rows:
            raise OrganizationUnknown(f"there is no organization '{name}'")
        _, email, expiration, roles = rows[0]
        return Organization(name, email, expiration, frozenset(roles))

    def of(self, user_id: int) -> list[Organization]:
        """Return the organizations in which the user is a member of a team, by name."""
        rows = self._database.read(
            """
            SELECT o.username, o.email, o.tag_expiration_s, array_agg(t.role)
            FROM "user" o JOIN team t ON t.organization_id = o.id
            JOIN teammember m ON m.team_id = t.id
            WHERE m.user_id = %s GROUP BY o.id ORDER BY o.username
            """,
            [user_id],
        )
        return [
            Organization(name, email, expiration, frozenset(roles))
            for name, email, expiration, roles in rows
        ]

    def listed(self, name: str) -> ListedOrganization:
        """Return an organization as in the list of all.

        Raises:
            OrganizationUnknown: There is no such organization.
        """
        rows = self._database.read(f"{_LISTED} AND username = %s", [name])
        if not rows:
            raise OrganizationUnknown(f"there is no organization '{name}'")
        return ListedOrganization(*rows[0])

    def page(
        self, *, limit: int | None = None, after: str = "", containing: str = ""
    ) -> list[ListedOrganization]:
        """Return organizations by name.

        Args:
            limit: The maximum number; None for all.
            after: The name after which the list begins.
            containing: A part of the names.
        """
        rows = self._database.read(
            f"{_LISTED} AND username > %s AND username LIKE %s ORDER BY username LIMIT %s",
            [after, f"%{escape_pattern(containing)}%", limit],
        )
        return [ListedOrganization(*row) for row in rows]

    def members(self, name: str) -> list[tuple[str, bool, list[str]]]:
        """Return the members of all teams, by name: name, whether it is a robot, and its teams."""
        rows = self._database.read(
            """
            SELECT u.username, u.robot_owner_id IS NOT NULL, array_agg(t.name ORDER BY t.name)
            FROM team t JOIN "user" o ON o.id = t.organization_id
            JOIN teammember m ON m.team_id = t.id JOIN "user" u ON u.id = m.user_id
            WHERE o.username = %s GROUP BY u.id ORDER BY u.username
            """,
            [name],
        )
        return [tuple(row) for row in rows]

    def teams(self, name: str) -> list[Team]:
        """Return the organization's teams, oldest first."""
        rows = self._database.read(
            """
            SELECT t.name, t.role, t.description,
                   (SELECT count(*) FROM teammember m WHERE m.team_id = t.id),
                   (SELECT count(*) FROM repositorypermission p WHERE p.team_id = t.id)
            FROM team t JOIN "user" o ON o.id = t.organization_id
            WHERE o.username = %s ORDER BY t.id
            """,
            [name],
        )
        return [Team(*row) for row in rows]

    def put_team(self, organization: str, team: str, role: str, description: str | None) -> bool:
        """Create or change a team, and return whether it is new.

        Args:
            organization: The organization.
            team: The team's name.
            role: The team's role, one of TEAM_ROLES.
            description: The description; None keeps that of an existing team.

        Raises:
            InvalidTeam: The name of the team is not valid.
            LastAdministrator: The new role would leave the organization without an administrator.
            OrganizationUnknown: There is no such organization.
        """
        if not _TEAM_NAME.fullmatch(team):
            raise InvalidTeam(
                f"'{team[:200]}' is not a valid team name; use at least two lower-case letters,"
                " digits, _ and -, starting with a letter"
            )
        with self._require_administrator(organization) as cursor:
            cursor.execute(
                """
                INSERT INTO team (organization_id, name, role, description)
                SELECT id, %(team)s, %(role)s, coalesce(%(description)s, '') FROM "user"
                WHERE username = %(organization)s AND organization
                ON CONFLICT (organization_id, name) DO UPDATE
                SET role = EXCLUDED.role,
                    description = coalesce(%(description)s, team.description)
                RETURNING xmax = 0
                """,
                {
                    "organization": organization,
                    "team": team,
                    "role": role,
                    "description": description,
                },
            )
            row = cursor.fetchone()
        if row is None:
            raise OrganizationUnknown(f"there is no organization '{organization}'")
        return bool(row[0])

    def delete_team(self, organization: str, team: str) -> None:
        """Delete a team.

        Raises:
            TeamUnknown: The organization has no such team.
            LastAdministrator: The organization would be left without an administrator.
        """
        with self._require_administrator(organization) as cursor:
            cursor.execute(
                f"DELETE FROM team WHERE id = {_TEAM_ID} RETURNING id",
                {"organization": organization, "team": team},
            )
            if cursor.fetchone() is None:
                raise TeamUnknown(f"'{organization}' has no team '{team}'")

    def team_members(self, organization: str, team: str) -> list[tuple[str, bool]]:
        """Return the names of a team's members, and whether each is a robot.

        Raises:
            TeamUnknown: The organization has no such team.
        """
        rows = self._database.read(
            f"""
            SELECT u.username, u.robot_owner_id IS NOT NULL
            FROM (SELECT {_TEAM_ID} AS id) AS team
            LEFT JOIN teammember m ON m.team_id = team.id LEFT JOIN "user" u ON u.id = m.user_id
            WHERE team.id IS NOT NULL ORDER BY u.username
            """,
            {"organization": organization, "team": team},
        )
        if not rows:
            raise TeamUnknown(f"'{organization}' has no team '{team}'")
        return [(name, robot) for name, robot in rows if name is not None]

    def team_permissions(self, organization: str, team: str) -> list[tuple[str, str, bool]]:
        """Return a team's permissions: repository, role, and whether the repository is public.

        Raises:
            TeamUnknown: The organization has no such team.
        """
        rows = self._database.read(
            f"""
            SELECT r.name, p.role, r.visibility = 'public'
            FROM (SELECT {_TEAM_ID} AS id) AS team
            LEFT JOIN repositorypermission p ON p.team_id = team.id
            LEFT JOIN repository r ON r.id = p.repository_id
            WHERE team.id IS NOT NULL ORDER BY r.name
            """,
            {"organization": organization, "team": team},
        )
        if not rows:
            raise TeamUnknown(f"'{organization}' has no team '{team}'")
        return [(name, role, public) for name, role, public in rows if name is not None]

    def collaborators(self, organization: str) -> list[tuple[str, list[str]]]:
        """Return the users in no team that have permissions, and on which repositories."""
        rows = self._database.read(
            """
            SELECT u.username, array_agg(r.name ORDER BY r.name)
            FROM "user" o JOIN repository r ON r.namespace_user_id = o.id
            JOIN repositorypermission p ON p.repository_id = r.id
            JOIN "user" u ON u.id = p.user_id AND u.robot_owner_id IS NULL
            WHERE o.username = %s AND NOT EXISTS (
                SELECT FROM team t JOIN teammember m ON m.team_id = t.id
                WHERE t.organization_id = o.id AND m.user_id = u.id)
            GROUP BY u.username ORDER BY u.username
            """,
            [organization],
        )
        return [(name, repositories) for name, repositories in rows]

    def add_member(self, organization: str, team: str, member: str) -> None:
        """Add a user, or a robot of the organization, to a team.

        Raises:
            TeamUnknown: The organization has no such team.
            MemberUnknown: There is no such user, or the robot belongs to another namespace.
        """
        team_id, user_id, allowed = self._database.run(
            f"""
            WITH candidate AS (
                SELECT u.id, u.robot_owner_id IS NULL OR o.username = %(organization)s AS allowed
                FROM "user" u LEFT JOIN "user" o ON o.id = u.robot_owner_id
                WHERE u.username = %(member)s AND NOT u.organization
            ), added AS (
                INSERT INTO teammember (team_id, user_id)
                SELECT {_TEAM_ID}, id FROM candidate WHERE allowed AND {_TEAM_ID} IS NOT NULL
                ON CONFLICT DO NOTHING
            )
            SELECT {_TEAM_ID}, (SELECT id FROM candidate), (SELECT allowed FROM candidate)
            """,
            {"organization": organization, "team": team, "member": member},
        )[0]
        if team_id is None:
            raise TeamUnknown(f"'{organization}' has no team '{team}'")
        if user_id is None or not allowed:
            raise MemberUnknown(
                f"'{member}' cannot be added to the team; it takes users, and robots of"
                f" '{organization}'"
            )

    def remove_member(self, organization: str, team: str, member: str) -> None:
        """Remove a user or robot from a team.

        Raises:
            MemberUnknown: The user or robot is not in the team.
            LastAdministrator: The organization would be left without an administrator.
        """
        with self._require_administrator(organization) as cursor:
            cursor.execute(
                f"""
                DELETE FROM teammember WHERE team_id = {_TEAM_ID}
                AND user_id = (SELECT id FROM "user" WHERE username = %(member)s)
                RETURNING user_id
                """,
                {"organization": organization, "team": team, "member": member},
            )
            if cursor.fetchone() is None:
                raise MemberUnknown(f"'{member}' is not in the team '{team}'")

    @contextmanager
    def _require_administrator(self, organization: str) -> Iterator[psycopg2.extensions.cursor]:
        """Roll back the transaction if it leaves the organization without an administrator."""
        with self._database.transaction() as cursor:
            cursor.execute(
                'SELECT id FROM "user" WHERE username = %s AND organization FOR UPDATE',
                [organization],
            )
            yield cursor
            cursor.execute(
                """
                SELECT EXISTS (
                    SELECT FROM team t JOIN teammember m ON m.team_id = t.id
                    WHERE t.organization_id = o.id AND t.role = 'admin')
                FROM "user" o WHERE o.username = %s AND o.organization
                """,
                [organization],
            )
            row = cursor.fetchone()
            if row is not None and not row[0]:
                raise LastAdministrator
