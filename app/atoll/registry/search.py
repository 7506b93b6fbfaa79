"""Accounts and teams that somebody may see, found by what their names are like (pg_trgm)."""

from __future__ import annotations

from dataclasses import dataclass

from atoll.auth.visibility import readable_by
from atoll.db.pool import Database
from atoll.registry.listing import CONTAINING, LATEST, THRESHOLD, escape_pattern

USER, ORGANIZATION, ROBOT, TEAM = "user", "organization", "robot", "team"
# How much more a repository, or a team, is likely to be meant than an account; as in Quay.
_ACCOUNT_WEIGHT, _TEAM_WEIGHT = 1, 2
REPOSITORY_WEIGHT = 4


def _score(name: str) -> str:
    return f"""greatest(similarity({name}, %(query)s), word_similarity(%(query)s, {name}),
                        CASE WHEN starts_with({name}, %(query)s) THEN 0.9 ELSE 0 END)"""


# Teams and robots are shown to who is in them, or administers them; a namespace to who may pull
# something from it, too.
_FIND = f"""
WITH actor AS (
    SELECT id FROM "user" WHERE username = %(username)s AND enabled AND NOT organization
), mine AS (
    SELECT t.id, t.organization_id, t.role FROM team t JOIN teammember m ON m.team_id = t.id
    WHERE m.user_id = (SELECT id FROM actor)
), administered AS (
    SELECT organization_id AS id FROM mine WHERE role = 'admin' UNION SELECT id FROM actor
), namespaces AS MATERIALIZED (
    (SELECT id FROM "user"
     WHERE robot_owner_id IS NULL AND username LIKE %(pattern)s LIMIT {CONTAINING})
    UNION
    (SELECT id FROM "user" WHERE robot_owner_id IS NULL ORDER BY id DESC LIMIT {LATEST})
), found AS (
    SELECT 'team' AS kind, t.name, o.username AS namespace,
           {_score("t.name")} * {_TEAM_WEIGHT} AS score, {_TEAM_WEIGHT} AS weight
    FROM team t JOIN "user" o ON o.id = t.organization_id
    WHERE t.id IN (SELECT id FROM mine) OR t.organization_id IN (SELECT id FROM administered)
    UNION ALL
    SELECT 'robot', r.username, n.username,
           {_score("split_part(r.username, '+', 2)")} * {_ACCOUNT_WEIGHT}, {_ACCOUNT_WEIGHT}
    FROM "user" r JOIN "user" n ON n.id = r.robot_owner_id
    WHERE r.robot_owner_id IN (SELECT id FROM administered)
    UNION ALL
    SELECT CASE WHEN n.organization THEN 'organization' ELSE 'user' END, n.username, n.username,
           {_score("n.username")} * {_ACCOUNT_WEIGHT}, {_ACCOUNT_WEIGHT}
    FROM namespaces JOIN "user" n USING (id)
    WHERE n.robot_owner_id IS NULL AND n.enabled AND (
        n.id = (SELECT id FROM actor) OR n.id IN (SELECT organization_id FROM mine) OR EXISTS (
            SELECT FROM (
                SELECT r.id, r.visibility, r.namespace_user_id AS namespace_id FROM repository r
                WHERE r.namespace_user_id = n.id) AS r
            WHERE {readable_by("r")}))
), ranked AS (
    SELECT kind, name, namespace, score,
           row_number() OVER (PARTITION BY kind ORDER BY score DESC, name) AS place
    FROM found WHERE score >= %(threshold)s * weight
)
SELECT kind, name, namespace, score FROM ranked WHERE place <= %(limit)s
ORDER BY score DESC, kind, name
"""


@dataclass(frozen=True)
class Found:
    """A user, an organization, a robot or a team, by KIND, of a namespace."""

    kind: str
    name: str
    namespace: str
    score: float


class Search:
    """Finds accounts and teams."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(
        self, username: str | None, query: str, *, everything: bool, limit: int
    ) -> list[Found]:
        """Return visible accounts and teams with names similar to QUERY, best first.

        In a large registry only a bounded part of the namespaces is compared.

        Args:
            username: the caller; None without an account.
            query: the text to look for.
            everything: whether a namespace is visible for any repository in it.
            limit: the largest number of results of each kind.
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
        return [Found(kind, name, namespace, float(score)) for kind, name, namespace, score in rows]
