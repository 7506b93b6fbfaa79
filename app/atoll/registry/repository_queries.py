"""Queries and changes of repositories for the API: get, list, search by name, change."""

from __future__ import annotations

from dataclasses import dataclass

from atoll.auth.visibility import readable_by
from atoll.db.patterns import escape_pattern
from atoll.db.pool import SIMILARITY, Database
from atoll.names import RepositoryName
from atoll.registry.errors import RepositoryUnknown
from atoll.registry.repositories import REPOSITORY_ID, name_parameters
from atoll.registry.tags import alive

_REPOSITORIES = """(
    SELECT r.id, n.username AS namespace, r.name, r.visibility, r.description,
           n.id AS namespace_id, n.organization, r.state,
           coalesce(n.tag_expiration_s, %(expiration)s) AS tag_expiration_s
    FROM repository r JOIN "user" n ON n.id = r.namespace_user_id
) AS r"""
_COLUMNS = (
    "r.namespace, r.name, r.visibility, r.description, r.organization, r.tag_expiration_s, r.state"
)

# The log entries that count for popularity: those of so many days, and at most so many, which
# bounds the cost of a query.
_POPULARITY_DAYS, _POPULARITY_MAXIMUM = 90, 10_000

# List a page of visible repositories, with their last change, popularity and star if requested.
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
FROM {_REPOSITORIES}
WHERE {readable_by("r")} AND (%(namespace)s IS NULL OR r.namespace = %(namespace)s)
  AND r.id > %(after)s
  AND (NOT %(starred)s OR EXISTS (
      SELECT FROM star s JOIN "user" u ON u.id = s.user_id
      WHERE s.repository_id = r.id AND u.username = %(username)s))
ORDER BY r.id LIMIT %(limit)s
"""

# Computing the similarity (pg_trgm) of every repository is too expensive. Candidates are so many
# repositories whose name or namespace contains the query. For misspelt queries, the index of
# trigrams finds so many with a similar name, of which the most similar ones are candidates.
CONTAINING, SIMILAR, _MOST_SIMILAR = 1000, 5000, 200
_NAMESPACES = 100
THRESHOLD = SIMILARITY


def similar(columns: str, source: str, name: str, query: str) -> str:
    """Return a query for rows with a name that is similar to a text, by the index of trigrams.

    Args:
        columns: The columns of the result.
        source: The rows, with a condition.
        name: The column with the name.
        query: The text.
    """
    return f"""
    SELECT {columns} FROM (
        SELECT * FROM {source} AND {query} <%% {name} LIMIT {SIMILAR}) AS r
    ORDER BY word_similarity({query}, {name}) DESC, abs(length({name}) - length({query}))
    LIMIT {_MOST_SIMILAR}"""


# Search visible repositories by similarity of their names.
_FIND = f"""
WITH candidates AS MATERIALIZED (
    (SELECT r.* FROM {_REPOSITORIES}
     WHERE {readable_by("r")} AND r.name = %(query)s LIMIT {CONTAINING})
    UNION
    (SELECT r.* FROM {_REPOSITORIES}
     WHERE {readable_by("r")} AND r.name LIKE %(pattern)s LIMIT {CONTAINING})
    UNION
    (SELECT r.* FROM (
         SELECT id FROM "user" WHERE username LIKE %(namespace_pattern)s LIMIT {_NAMESPACES}) AS n
     JOIN {_REPOSITORIES} ON r.namespace_id = n.id
     WHERE {readable_by("r")} AND r.name LIKE %(name_pattern)s LIMIT {CONTAINING})
    UNION
    ({similar("r.*", f"{_REPOSITORIES} WHERE {readable_by('r')}", "r.name", "%(name)s")})
)
SELECT {_COLUMNS}, score FROM (
    SELECT r.*, greatest(
        word_similarity(%(query)s, r.namespace || '/' || r.name), similarity(%(query)s, r.name),
        CASE WHEN strpos(r.namespace || '/' || r.name, %(query)s) > 0 THEN 0.9 ELSE 0 END,
        CASE WHEN r.name = %(query)s THEN 1.0 ELSE 0 END) AS score
    FROM candidates r
) AS r
WHERE score >= %(threshold)s
ORDER BY score DESC, length(r.name), r.namespace, r.name LIMIT %(limit)s OFFSET %(offset)s
"""


@dataclass(frozen=True)
class Repository:
    """The attributes of a repository."""

    name: RepositoryName
    public: bool
    description: str
    in_organization: bool
    tag_expiration_s: int
    state: str


@dataclass(frozen=True)
class ListedRepository:
    """A repository in a list.

    Attributes:
        repository: The repository.
        last_modified_ms: When a tag was last changed, in milliseconds since the epoch; None if it
            was not requested or there is no tag.
        popularity: The number of recent log entries; None if it was not requested.
        starred: Whether the user starred the repository.
    """

    repository: Repository
    last_modified_ms: int | None
    popularity: int | None
    starred: bool


class RepositoryQueries:
    """Queries the repositories that a user can see, and changes them."""

    def __init__(self, database: Database, tag_expiration_s: int) -> None:
        self._database = database
        self._expiration = tag_expiration_s

    def get(self, name: RepositoryName) -> Repository:
        """Return a repository.

        Raises:
            RepositoryUnknown: There is no such repository.
        """
        rows = self._database.read(
            f"SELECT {_COLUMNS} FROM {_REPOSITORIES}"
            " WHERE r.namespace = %(namespace)s AND r.name = %(name)s",
            {**name_parameters(name), "expiration": self._expiration},
        )
        if not rows:
            raise RepositoryUnknown(f"there is no repository '{name}'")
        return _repository(rows[0])

    def find(
        self, username: str | None, query: str, *, everything: bool, limit: int, offset: int
    ) -> list[tuple[Repository, float]]:
        """Search visible repositories by name; in large registries, only some are compared.

        Args:
            username: The user's name; None for anonymous clients.
            query: The name to search for.
            everything: Whether to ignore permissions, for superusers.
            limit: The maximum number of results.
            offset: The number of results to skip.

        Returns:
            The repositories with their similarity, best first.
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
                "name": name if slash else query,
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
        """Change the attributes of a repository that are not None.

        Raises:
            RepositoryUnknown: There is no such repository.
        """
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
        everything: bool,
        after: int,
        limit: int,
        starred: bool = False,
        last_modified: bool = False,
        popularity: bool = False,
    ) -> tuple[list[ListedRepository], int | None]:
        """List a page of the repositories that a user can see, oldest first.

        Args:
            username: The user's name; None for anonymous clients.
            namespace: The namespace to list; None for all.
            everything: Whether to ignore permissions, for superusers.
            after: The position that the previous page returned; 0 for the first page.
            limit: The size of a page.
            starred: Whether to list only repositories that the user starred.
            last_modified: Whether to return the time of the last change.
            popularity: Whether to return the popularity.

        Returns:
            The repositories, and the position of the next page; None after the last one.
        """
        rows = self._database.read(
            _LIST,
            {
                "username": username,
                "namespace": namespace,
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
        return [ListedRepository(_repository(row), *row[8:11]) for row in rows[:limit]], more


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
