"""Users, organizations, robots and teams, found by how their names begin."""

from __future__ import annotations

from dataclasses import dataclass

from atoll.db.pool import Database

USER, ORGANIZATION, TEAM = "user", "org", "team"

# Robots and teams show to who is in the namespace that is asked about.
_FIND = """
WITH namespace AS (
    SELECT o.id, o.id = %(user)s OR EXISTS (
        SELECT FROM team t JOIN teammember m ON m.team_id = t.id
        WHERE t.organization_id = o.id AND m.user_id = %(user)s) AS inside
    FROM "user" o WHERE o.username = %(namespace)s
), found AS (
    SELECT u.username AS name, CASE WHEN u.organization THEN 'org' ELSE 'user' END AS kind,
           u.robot_owner_id IS NOT NULL AS is_robot,
           coalesce(u.robot_owner_id = n.id, false) OR EXISTS (
               SELECT FROM team t JOIN teammember m ON m.team_id = t.id
               WHERE t.organization_id = n.id AND m.user_id = u.id) AS is_member
    FROM "user" u LEFT JOIN namespace n ON n.inside
    WHERE starts_with(u.username, %(prefix)s) AND u.enabled
      AND (%(organizations)s OR NOT u.organization)
      AND (u.robot_owner_id IS NULL OR u.robot_owner_id = n.id)
    UNION ALL
    SELECT t.name, 'team', false, true FROM team t JOIN namespace n ON n.id = t.organization_id
    WHERE n.inside AND %(teams)s AND starts_with(t.name, %(prefix)s)
)
SELECT name, kind, is_robot, is_member FROM found
ORDER BY kind = 'team' DESC, is_member DESC, name LIMIT %(limit)s
"""


@dataclass(frozen=True)
class Entity:
    """Somebody who may have permissions. IS_MEMBER: of the namespace that was asked about."""

    name: str
    kind: str
    is_robot: bool
    is_member: bool


class Entities:
    """Everybody."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(
        self,
        user_id: int,
        prefix: str,
        namespace: str | None,
        *,
        teams: bool,
        organizations: bool,
        limit: int,
    ) -> list[Entity]:
        """Return who a user may see whose name begins with PREFIX, members first."""
        rows = self._database.read(
            _FIND,
            {
                "user": user_id,
                "prefix": prefix,
                "namespace": namespace,
                "teams": teams,
                "organizations": organizations,
                "limit": limit,
            },
        )
        return [Entity(*row) for row in rows]
