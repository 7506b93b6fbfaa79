"""Search for users, organizations, robots and teams by the prefix of their names."""

from __future__ import annotations

from dataclasses import dataclass

from atoll.db.pool import Database

USER, ORGANIZATION, TEAM = "user", "org", "team"

# Search accounts and teams by prefix. Robots and teams of the namespace are listed for its members
# only.
_FIND = """
WITH namespace AS (
    SELECT o.id, o.id = %(user)s OR EXISTS (
        SELECT FROM team t JOIN teammember m ON m.team_id = t.id
        WHERE t.organization_id = o.id AND m.user_id = %(user)s) AS searched_by_member
    FROM "user" o WHERE o.username = %(namespace)s
), entity AS (
    SELECT u.username AS name, CASE WHEN u.organization THEN 'org' ELSE 'user' END AS kind,
           u.robot_owner_id IS NOT NULL AS is_robot,
           coalesce(u.robot_owner_id = n.id, false) OR EXISTS (
               SELECT FROM team t JOIN teammember m ON m.team_id = t.id
               WHERE t.organization_id = n.id AND m.user_id = u.id) AS is_member
    FROM "user" u LEFT JOIN namespace n ON n.searched_by_member
    WHERE starts_with(u.username, %(prefix)s) AND u.enabled
      AND (%(organizations)s OR NOT u.organization)
      AND (u.robot_owner_id IS NULL OR u.robot_owner_id = n.id)
    UNION ALL
    SELECT t.name, 'team', false, true FROM team t JOIN namespace n ON n.id = t.organization_id
    WHERE n.searched_by_member AND %(teams)s AND starts_with(t.name, %(prefix)s)
)
SELECT name, kind, is_robot, is_member FROM entity
ORDER BY kind = 'team' DESC, is_member DESC, name LIMIT %(limit)s
"""


@dataclass(frozen=True)
class Entity:
    """A user, organization, robot or team; `is_member` refers to the namespace of the search."""

    name: str
    kind: str
    is_robot: bool
    is_member: bool


class Entities:
    """All accounts and teams."""

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
        """Return the entities that a user may see, teams and members of the namespace first.

        Args:
            user_id: The user who searches.
            prefix: The beginning of the names.
            namespace: The namespace whose robots and teams are included.
            teams: Whether to include teams.
            organizations: Whether to include organizations.
            limit: The maximum number of results.
        """
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
