"""A search compares a bounded number of repositories and namespaces, however many there are."""

from __future__ import annotations

import pytest
from atoll.registry import repository_queries
from atoll.registry.repository_queries import LATEST, RepositoryQueries
from atoll.registry.search import Search

from .sites import MemoryRegistry

OLDEST = ["oldest-alpha", "oldest_beta", "oldest%gamma"]


@pytest.fixture
def found(registry: MemoryRegistry) -> RepositoryQueries:
    """The repositories OLDEST, and after them more than a search compares."""
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
        [LATEST],
    )
    return RepositoryQueries(database, 0)


def search(found: RepositoryQueries, query: str, limit: int = 5) -> list[str]:
    rows = found.find(None, query, everything=False, limit=limit, offset=0)
    return [repository.name.name for repository, _ in rows]


def test_an_old_repository_is_found_by_part_of_its_name(found: RepositoryQueries) -> None:
    assert search(found, "oldest-alpha") == ["oldest-alpha"]
    assert search(found, "alph") == ["oldest-alpha"]
    assert search(found, "Admin/Oldest")[0] in OLDEST
    assert search(found, "dmin/oldest_b")[0] == "oldest_beta"


def test_signs_of_patterns_stand_for_themselves(found: RepositoryQueries) -> None:
    for query in ("_bet", "%gam", "\\"):
        assert search(found, query) == [name for name in OLDEST if query in name]


def test_similar_names_are_sought_among_the_latest_repositories(found: RepositoryQueries) -> None:
    assert search(found, "latter-77")[0].startswith("later-77")
    assert search(found, "oldezt-elpha") == []


def test_namespaces_are_compared_in_bounds(registry: MemoryRegistry) -> None:
    database = registry["us"].database
    database.run(
        'WITH one AS (INSERT INTO "user" (username, organization)'
        " SELECT name, true FROM (SELECT 'oldest-team' AS name UNION ALL"
        " SELECT 'later-' || n FROM generate_series(1, %s) AS n ORDER BY name DESC) AS names"
        " RETURNING id)"
        " INSERT INTO repository (namespace_user_id, name, visibility)"
        " SELECT id, 'app', 'public' FROM one",
        [LATEST],
    )
    accounts = Search(database)

    def names(query: str) -> list[str]:
        return [one.name for one in accounts.find(None, query, everything=False, limit=3)]

    assert names("oldest") == ["oldest-team"]
    assert names("oldezt-taem") == []


def test_a_pattern_matches_its_text_alone() -> None:
    assert repository_queries.escape_pattern("a_b%c\\d") == "a\\_b\\%c\\\\d"
