"""A search finds similar names in a large registry."""

from __future__ import annotations

import pytest
from atoll.db.patterns import escape_pattern
from atoll.registry.repository_queries import SIMILAR, RepositoryQueries
from atoll.registry.search import Search

from .sites import MemoryRegistry

OLDEST = ["oldest-alpha", "oldest_beta", "oldest%gamma"]


@pytest.fixture
def crowded_registry(registry: MemoryRegistry) -> RepositoryQueries:
    """A registry with the repositories OLDEST, and more newer ones than a search compares."""
    database = registry["us"].database
    for name in OLDEST:
        database.run(
            "INSERT INTO repository (namespace_user_id, name, visibility) SELECT id, %s, 'public'"
            " FROM \"user\" WHERE username = 'admin'",
            [name],
        )
    database.run(
        "INSERT INTO repository (namespace_user_id, name, visibility)"
        " SELECT u.id, 'later-' || n, 'public' FROM \"user\" u, generate_series(1, %s) AS n"
        " WHERE u.username = 'admin'",
        [SIMILAR],
    )
    return RepositoryQueries(database, 0)


def search(crowded_registry: RepositoryQueries, query: str, limit: int = 5) -> list[str]:
    rows = crowded_registry.find(None, query, everything=False, limit=limit, offset=0)
    return [repository.name.name for repository, _ in rows]


def test_an_old_repository_is_found_by_part_of_its_name(
    crowded_registry: RepositoryQueries,
) -> None:
    assert search(crowded_registry, "oldest-alpha")[0] == "oldest-alpha"
    assert search(crowded_registry, "alph") == ["oldest-alpha"]
    assert search(crowded_registry, "Admin/Oldest")[0] in OLDEST
    assert search(crowded_registry, "dmin/oldest_b")[0] == "oldest_beta"


def test_wildcards_in_queries_match_literally(crowded_registry: RepositoryQueries) -> None:
    for query in ("_bet", "%gam", "\\"):
        assert search(crowded_registry, query) == [name for name in OLDEST if query in name]


def test_an_old_repository_is_found_by_a_misspelt_name(
    crowded_registry: RepositoryQueries,
) -> None:
    assert search(crowded_registry, "latter-77")[0].startswith("later-77")
    for query in ("oldezt-elpha", "admin/oldezt-elpha"):
        assert search(crowded_registry, query)[0] == "oldest-alpha"


def test_a_namespace_is_found_by_a_misspelt_name(registry: MemoryRegistry) -> None:
    database = registry["us"].database
    database.run(
        'WITH one AS (INSERT INTO "user" (username, organization)'
        " SELECT name, true FROM (SELECT 'oldest-team' AS name UNION ALL"
        " SELECT 'later-' || n FROM generate_series(1, %s) AS n ORDER BY name DESC) AS names"
        " RETURNING id)"
        " INSERT INTO repository (namespace_user_id, name, visibility)"
        " SELECT id, 'app', 'public' FROM one",
        [SIMILAR],
    )
    accounts = Search(database)

    def names(query: str) -> list[str]:
        return [one.name for one in accounts.find(None, query, everything=False, limit=3)]

    assert names("oldest") == ["oldest-team"]
    assert names("oldezt-taem") == ["oldest-team"]


def test_an_escaped_pattern_matches_only_its_text() -> None:
    assert escape_pattern("a_b%c\\d") == "a\\_b\\%c\\\\d"
