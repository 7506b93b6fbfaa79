"""Repositories as people look at them: one, many, found by name; and changed."""

from __future__ import annotations

import re
from dataclasses import dataclass

from atoll.auth.visibility import readable_by
from atoll.db.pool import Database
from atoll.names import RepositoryName
from atoll.registry.errors import RepositoryUnknown
from atoll.registry.repositories import REPOSITORY_ID, name_parameters
from atoll.registry.tags import alive

_ROWS = """(
    SELECT r.id, n.username AS namespace, r.name, r.visibility, r.description,
           n.id AS namespace_id, n.organization, r.state,
           coalesce(n.tag_expiration_s, %(expiration)s) AS tag_expiration_s
    FROM repository r JOIN "user" n ON n.id = r.namespace_user_id
) AS r"""
_COLUMNS = (
    "r.namespace, r.name, r.visibility, r.description, r.organization, r.tag_expiration_s, r.state"
)

# Of the log only so much is counted: what is more popular than that is popular enough.
_POPULARITY_DAYS, _POPULARITY_MAXIMUM = 90, 10_000

_LIST = f"""
SELECT {_COLUMNS}, r.id,
       CASE WHEN %(last_modified)s THEN (
           SELECT max(t.lifetime_start_ms) FROM tag t
           WHERE t.repository_id = r.id AND {alive("t")}) END,
       CASE WHEN %(popularity)s THEN (
           SELECT count(*) FROM (
               SELECT FROM logentry e WHERE e.namespace = r.namespace AND e.repository = r.name
                 AND e.created_at > now() - make_interval(days => {_POPULARITY_DAYS})
               LIMIT {_POPULARITY_MAXIMUM}) AS entries) END,
       EXISTS (
           SELECT FROM star s JOIN "user" u ON u.id = s.user_id
           WHERE s.repository_id = r.id AND u.username = %(username)s)
FROM {_ROWS}
WHERE {readable_by("r")} AND (%(namespace)s IS NULL OR r.namespace = %(namespace)s)
  AND (NOT %(public)s OR r.visibility = 'public') AND r.id > %(after)s
  AND (NOT %(starred)s OR EXISTS (
      SELECT FROM star s JOIN "user" u ON u.id = s.user_id
      WHERE s.repository_id = r.id AND u.username = %(username)s))
ORDER BY r.id LIMIT %(limit)s
"""

# Similarity (pg_trgm) costs too much to compute it for every repository, so it ranks those whose
# name or namespace contains the query, and the latest ones, in which a typo still finds something.
CONTAINING, LATEST = 1000, 5000
_NAMESPACES = 100

_FIND = f"""
WITH candidates AS MATERIALIZED (
    (SELECT r.id FROM {_ROWS} WHERE {readable_by("r")} AND r.name = %(query)s LIMIT {CONTAINING})
    UNION
    (SELECT r.id FROM {_ROWS}
     WHERE {readable_by("r")} AND r.name LIKE %(pattern)s LIMIT {CONTAINING})
    UNION
    (SELECT r.id FROM (
         SELECT id FROM "user" WHERE username LIKE %(namespace_pattern)s LIMIT {_NAMESPACES}) AS n
     JOIN {_ROWS} ON r.namespace_id = n.id
     WHERE {readable_by("r")} AND r.name LIKE %(name_pattern)s LIMIT {CONTAINING})
    UNION
    (SELECT r.id FROM {_ROWS} WHERE {readable_by("r")} ORDER BY r.id DESC LIMIT {LATEST})
), compared AS MATERIALIZED (
    SELECT r.* FROM candidates c JOIN {_ROWS} ON r.id = c.id
)
SELECT {_COLUMNS}, score FROM (
    SELECT r.*, greatest(
        word_similarity(%(query)s, r.namespace || '/' || r.name), similarity(%(query)s, r.name),
        CASE WHEN strpos(r.namespace || '/' || r.name, %(query)s) > 0 THEN 0.9 ELSE 0 END,
        CASE WHEN r.name = %(query)s THEN 1.0 ELSE 0 END) AS score
    FROM compared r
) AS r
WHERE score >= %(threshold)s
ORDER BY score DESC, length(r.name), r.namespace, r.name LIMIT %(limit)s OFFSET %(offset)s
"""
THRESHOLD = 0.3


def escape_pattern(text: str) -> str:
    """Return the LIKE pattern that only TEXT itself matches."""
    return re.sub(r"([\\%_])", r"\\\1", text)


@dataclass(frozen=True)
class Repository:
    """A repository."""

    name: RepositoryName
    public: bool
    description: str
    in_organization: bool
    tag_expiration_s: int
    state: str


@dataclass(frozen=True)
class Listed:
    """A repository in a list.

    `last_modified_ms` is since 1970, `popularity` is how much was done with it of late; both are
    None where they were not asked for, or nothing was.
    """

    repository: Repository
    last_modified_ms: int | None
    popularity: int | None
    starred: bool


class Listing:
    """All repositories, as somebody sees them."""

    def __init__(self, database: Database, tag_expiration_s: int) -> None:
        self._database = database
        self._expiration = tag_expiration_s

    def get(self, name: RepositoryName) -> Repository:
        """Return a repository, or raise RepositoryUnknown."""
        rows = self._database.read(
            f"SELECT {_COLUMNS} FROM {_ROWS}"
            " WHERE r.namespace = %(namespace)s AND r.name = %(name)s",
            {**name_parameters(name), "expiration": self._expiration},
        )
        if not rows:
            raise RepositoryUnknown(f"there is no repository '{name}'")
        return _repository(rows[0])

    def find(
        self, username: str | None, query: str, *, everything: bool, limit: int, offset: int
    ) -> list[tuple[Repository, float]]:
        """Return visible repositories with names similar to QUERY, with the similarity, best first.

        In a large registry only a bounded part of the repositories is compared.
        """
        query = query.lower()
        namespace, slash, name = query.partition("/")
        rows = self._database.read(
            _FIND,
            {
                "username": username,
                "query": query,
                "pattern": f"%{escape_pattern(query)}%",
                "namespace_pattern": f"%{escape_pattern(namespace)}" + ("" if slash else "%"),
                "name_pattern": f"{escape_pattern(name)}%",
                "threshold": THRESHOLD,
                "everything": everything,
                "limit": limit,
                "offset": offset,
                "expiration": self._expiration,
            },
        )
        return [(_repository(row), float(row[7])) for row in rows]

    def change(
        self,
        name: RepositoryName,
        *,
        description: str | None = None,
        visibility: str | None = None,
        state: str | None = None,
    ) -> None:
        """Change what is given, or raise RepositoryUnknown."""
        rows = self._database.run(
            f"""
            UPDATE repository SET description = coalesce(%(description)s, description),
                visibility = coalesce(%(visibility)s, visibility),
                state = coalesce(%(state)s, state)
            WHERE id = {REPOSITORY_ID} RETURNING id
            """,
            {
                **name_parameters(name),
                "description": description,
                "visibility": visibility,
                "state": state,
            },
        )
        if not rows:
            raise RepositoryUnknown(f"there is no repository '{name}'")

    def list(
        self,
        username: str | None,
        *,
        namespace: str | None,
        public: bool,
        everything: bool,
        after: int,
        limit: int,
        starred: bool = False,
        last_modified: bool = False,
        popularity: bool = False,
    ) -> tuple[list[Listed], int | None]:
        """Return what the user may see, and the AFTER of the next page, None at the end.

        With STARRED only what the user marked. LAST_MODIFIED and POPULARITY tell what to look up.
        """
        rows = self._database.read(
            _LIST,
            {
                "username": username,
                "namespace": namespace,
                "public": public,
                "starred": starred,
                "last_modified": last_modified,
                "popularity": popularity,
                "everything": everything,
                "after": after,
                "limit": limit + 1,
                "expiration": self._expiration,
            },
        )
        more = rows[limit - 1][7] if len(rows) > limit else None
        return [Listed(_repository(row), *row[8:11]) for row in rows[:limit]], more


def _repository(row: tuple[str, str, str, str, bool, int, str]) -> Repository:
    namespace, name, visibility, description, organization, expiration, state = row[:7]
    return Repository(
        RepositoryName(namespace, name),
        visibility == "public",
        description,
        organization,
        expiration,
        state,
    )
