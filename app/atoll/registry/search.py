"""Search for accounts and teams by similarity of their names (pg_trgm)."""

from __future__ import annotations

from dataclasses import dataclass

from atoll.auth.visibility import readable_by
from atoll.db.patterns import escape_pattern
from atoll.db.pool import Database
from atoll.registry.repository_queries import CONTAINING, THRESHOLD, similar

USER, ORGANIZATION, ROBOT, TEAM = "user", "organization", "robot", "team"
# Weights of accounts, teams and repositories in the ranking, as in Quay.
_ACCOUNT_WEIGHT, _TEAM_WEIGHT = 1, 2
REPOSITORY_WEIGHT = 4


def _score(name: str) -> str:
    return f"""greatest(similarity({name}, %(query)s), word_similarity(%(query)s, {name}),
                        CASE WHEN starts_with({name}, %(query)s) THEN 0.9 ELSE 0 END)"""


# Search visible accounts and teams. Teams are visible to their members and administrators, robots
# to their administrators, and namespaces to their members and to users with pull permission on one
# of their repositories.
_FIND = f"""
WITH actor AS (
    SELECT id FROM "user" WHERE username = %(username)s AND enabled AND NOT organization
), own_teams AS (
    SELECT t.id, t.organization_id, t.role FROM team t JOIN teammember m ON m.team_id = t.id
    WHERE m.user_id = (SELECT id FROM actor)
), administered AS (
    SELECT organization_id AS id FROM own_teams WHERE role = 'admin' UNION SELECT id FROM actor
), candidate_namespaces AS MATERIALIZED (
    (SELECT id FROM "user"
     WHERE robot_owner_id IS NULL AND username LIKE %(pattern)s LIMIT {CONTAINING})
    UNION
    ({similar("id", '"user" AS r WHERE robot_owner_id IS NULL', "r.username", "%(query)s")})
), visible AS (
    SELECT 'team' AS kind, t.name, o.username AS namespace,
           {_score("t.name")} * {_TEAM_WEIGHT} AS score, {_TEAM_WEIGHT} AS weight
    FROM team t JOIN "user" o ON o.id = t.organization_id
    WHERE t.id IN (SELECT id FROM own_teams) OR t.organization_id IN (SELECT id FROM administered)
    UNION ALL
    SELECT 'robot', r.username, n.username,
           {_score("split_part(r.username, '+', 2)")} * {_ACCOUNT_WEIGHT}, {_ACCOUNT_WEIGHT}
    FROM "user" r JOIN "user" n ON n.id = r.robot_owner_id
    WHERE r.robot_owner_id IN (SELECT id FROM administered)
    UNION ALL
    SELECT CASE WHEN n.organization THEN 'organization' ELSE 'user' END, n.username, n.username,
           {_score("n.username")} * {_ACCOUNT_WEIGHT}, {_ACCOUNT_WEIGHT}
    FROM candidate_namespaces JOIN "user" n USING (id)
    WHERE n.robot_owner_id IS NULL AND n.enabled AND (
        n.id = (SELECT id FROM actor) OR n.id IN (SELECT organization_id FROM own_teams)
        OR EXISTS (
            SELECT FROM (
                SELECT r.id, r.visibility, r.namespace_user_id AS namespace_id FROM repository r
                WHERE r.namespace_user_id = n.id) AS r
            WHERE {readable_by("r")}))
), ranked AS (
    SELECT kind, name, namespace, score,
           row_number() OVER (PARTITION BY kind ORDER BY score DESC, name) AS rank
    FROM visible WHERE score >= %(threshold)s * weight
)
SELECT kind, name, namespace, score FROM ranked WHERE rank <= %(limit)s
ORDER BY score DESC, kind, name
"""


@dataclass(frozen=True)
class SearchResult:
    """A user, organization, robot or team, with its namespace and score."""

    kind: str
    name: str
    namespace: str
    score: float


class Search:
    """Searches accounts and teams."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(
        self, username: str | None, query: str, *, everything: bool, limit: int
    ) -> list[SearchResult]:
        """Search visible accounts and teams by name, best first.

        In large registries, only some of the namespaces are compared.

        Args:
            username: The user's name; None for anonymous clients.
            query: The name to search for.
            everything: Whether namespaces with any repository are visible, for superusers.
            limit: The maximum number of results of each kind.
        """
        rows = self._database.read(
            _FIND,
            {
                "username": username,
                "query": query.lower(),
                "pattern": f"%{escape_pattern(query.lower())}%",
                "everything": everything,
                "threshold": THRESHOLD,
                "limit": limit,
            },
        )
        return [
            SearchResult(kind, name, namespace, float(score))
            for kind, name, namespace, score in rows
        ]
