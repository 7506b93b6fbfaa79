"""Organizations and their teams: who is in them, and what they may do with the whole namespace."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg2.extensions

from atoll.auth.access import Principal
from atoll.db.pool import Database

TEAM_ROLES = ("member", "creator", "admin")
_TEAM_NAME = re.compile(r"[a-z][a-z0-9_-]{1,254}")

_STANDING = """
SELECT o.organization, o.enabled, o.email, o.tag_expiration_s, array(
    SELECT t.role FROM team t JOIN teammember m ON m.team_id = t.id
    WHERE t.organization_id = o.id AND m.user_id = %(user)s)
FROM "user" o WHERE o.username = %(name)s AND o.organization
"""

_TEAM = """(SELECT t.id FROM team t JOIN "user" o ON o.id = t.organization_id
            WHERE o.username = %(organization)s AND t.name = %(team)s)"""


class OrganizationUnknown(Exception):
    """There is no such organization."""


class TeamUnknown(Exception):
    """The organization has no such team."""


class MemberUnknown(Exception):
    """There is no such user or robot, or it is not in the team."""


class InvalidTeam(ValueError):
    """A team's name or role that cannot be."""


class LastAdministrator(Exception):
    """Nobody would be left to administer the organization."""

    def __init__(self) -> None:
        super().__init__("the organization would be left without an administrator")


@dataclass(frozen=True)
class Organization:
    """An organization as one user sees it: ROLES are those of the user's teams."""

    name: str
    email: str | None
    tag_expiration_s: int | None
    roles: frozenset[str]

    @property
    def is_admin(self) -> bool:
        """Tell whether the user administers it."""
        return "admin" in self.roles


@dataclass(frozen=True)
class Team:
    """A team."""

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
        """Return an organization as PRINCIPAL sees it, or raise OrganizationUnknown."""
        rows = self._database.read(
            _STANDING, {"name": name, "user": principal.id if principal else None}
        )
        if not rows:
            raise OrganizationUnknown(f"there is no organization '{name}'")
        _, _, email, expiration, roles = rows[0]
        return Organization(name, email, expiration, frozenset(roles))

    def of(self, user_id: int) -> list[Organization]:
        """Return the organizations that a user has a team in."""
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
            Organization(name, email, exp, frozenset(roles)) for name, email, exp, roles in rows
        ]

    def all(self) -> list[Organization]:
        """Return every organization, by name."""
        rows = self._database.read(
            'SELECT username, email, tag_expiration_s FROM "user" WHERE organization'
            " ORDER BY username"
        )
        return [Organization(name, email, exp, frozenset()) for name, email, exp in rows]

    def members(self, name: str) -> list[tuple[str, bool, list[str]]]:
        """Return everybody in a team: name, whether it is a robot, and the teams."""
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
        """Make or change a team; tell whether it is new. Raises InvalidTeam, LastAdministrator."""
        if not _TEAM_NAME.fullmatch(team):
            raise InvalidTeam(
                f"'{team[:200]}' is not a team's name; use two or more lower-case letters, digits,"
                " _ and -, a letter first"
            )
        with self._guarded(organization) as cursor:
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
        """Delete a team. Raises TeamUnknown or LastAdministrator."""
        with self._guarded(organization) as cursor:
            cursor.execute(
                f"DELETE FROM team WHERE id = {_TEAM} RETURNING id",
                {"organization": organization, "team": team},
            )
            if cursor.fetchone() is None:
                raise TeamUnknown(f"'{organization}' has no team '{team}'")

    def team_members(self, organization: str, team: str) -> list[tuple[str, bool]]:
        """Return who is in a team, and whether it is a robot. Raises TeamUnknown."""
        rows = self._database.read(
            f"""
            SELECT u.username, u.robot_owner_id IS NOT NULL
            FROM (SELECT {_TEAM} AS id) AS team
            LEFT JOIN teammember m ON m.team_id = team.id LEFT JOIN "user" u ON u.id = m.user_id
            WHERE team.id IS NOT NULL ORDER BY u.username
            """,
            {"organization": organization, "team": team},
        )
        if not rows:
            raise TeamUnknown(f"'{organization}' has no team '{team}'")
        return [(name, robot) for name, robot in rows if name is not None]

    def team_permissions(self, organization: str, team: str) -> list[tuple[str, str, bool]]:
        """Return what a team has: repository, role, whether that is public. Raises TeamUnknown."""
        rows = self._database.read(
            f"""
            SELECT r.name, p.role, r.visibility = 'public'
            FROM (SELECT {_TEAM} AS id) AS team
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
        """Return who has permissions on repositories and is in no team, and on which these are."""
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
        """Put a user, or a robot of the organization, into a team.

        Raises TeamUnknown or MemberUnknown.
        """
        team_id, user_id, allowed = self._database.run(
            f"""
            WITH candidate AS (
                SELECT u.id, u.robot_owner_id IS NULL OR o.username = %(organization)s AS allowed
                FROM "user" u LEFT JOIN "user" o ON o.id = u.robot_owner_id
                WHERE u.username = %(member)s AND NOT u.organization
            ), added AS (
                INSERT INTO teammember (team_id, user_id)
                SELECT {_TEAM}, id FROM candidate WHERE allowed AND {_TEAM} IS NOT NULL
                ON CONFLICT DO NOTHING
            )
            SELECT {_TEAM}, (SELECT id FROM candidate), (SELECT allowed FROM candidate)
            """,
            {"organization": organization, "team": team, "member": member},
        )[0]
        if team_id is None:
            raise TeamUnknown(f"'{organization}' has no team '{team}'")
        if user_id is None or not allowed:
            raise MemberUnknown(f"there is no user '{member}' who can be in the team")

    def remove_member(self, organization: str, team: str, member: str) -> None:
        """Take somebody out of a team. Raises MemberUnknown or LastAdministrator."""
        with self._guarded(organization) as cursor:
            cursor.execute(
                f"""
                DELETE FROM teammember WHERE team_id = {_TEAM}
                AND user_id = (SELECT id FROM "user" WHERE username = %(member)s)
                RETURNING user_id
                """,
                {"organization": organization, "team": team, "member": member},
            )
            if cursor.fetchone() is None:
                raise MemberUnknown(f"'{member}' is not in the team '{team}'")

    @contextmanager
    def _guarded(self, organization: str) -> Iterator[psycopg2.extensions.cursor]:
        """Give a cursor whose work is undone if it leaves the organization to nobody."""
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
