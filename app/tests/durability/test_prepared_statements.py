"""Prepared statements return what others return, and outlive poolers, failures and migrations."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg2
import psycopg2.errors
import pytest
from atoll.auth import access
from atoll.db.pool import ROUND_TRIPS, Database, DatabaseUnavailable
from atoll.db.statement import Statement
from atoll.names import Digest
from atoll.registry import blobs, manifests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .sites import MemoryRegistry
from .transaction_pooler import transaction_pooler

# PostgreSQL considers a plan without the parameters' values from the sixth execution on.
EXECUTIONS = 8

ECHO = Statement("SELECT %(text)s::text, %(number)s::bigint, %(texts)s::text[], %(text)s || '%%'")


def round_trips() -> float:
    return ROUND_TRIPS._value.get()  # type: ignore[no-any-return]


def pool(uri: str, size: int = 1) -> Database:
    return Database(uri, {}, size=size)


@pytest.fixture
def single(registry: MemoryRegistry) -> Iterator[Database]:
    """A pool of one connection."""
    database = pool(registry.uri)
    yield database
    database.forget_idle()


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"))


@given(text=texts, number=st.none() | st.integers(-(2**63), 2**63 - 1), array=st.lists(texts))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_parameters_arrive_unchanged(
    single: Database, text: str, number: int | None, array: list[str]
) -> None:
    rows = single.run(ECHO, {"text": text, "number": number, "texts": array})
    assert rows == [(text, number, array, f"{text}%")]


def test_each_execution_takes_one_round_trip_and_the_first_one_prepares(single: Database) -> None:
    parameters = {"text": "a", "number": 1, "texts": []}
    for _ in range(EXECUTIONS):
        before = round_trips()
        single.run(ECHO, parameters)
        assert round_trips() - before == 1
    prepared = single.run("SELECT name, generic_plans + custom_plans FROM pg_prepared_statements")
    assert [tuple(row) for row in prepared] == [(ECHO.name, EXECUTIONS)]


@pytest.mark.parametrize(
    ("statement", "parameters"),
    [
        (manifests._BY_TAG, {"reference": "v1"}),
        (manifests._BY_DIGEST, {"reference": str(Digest.of(b"a"))}),
        (blobs._FIND, {"digest": str(Digest.of(b"a"))}),
        (
            access._PERMISSIONS_QUERY,
            {
                "username": "admin",
                "user_id": None,
                "app_token": None,
                "oauth_hash": None,
                "namespaces": ["admin", "acme"],
                "names": ["app", "missing"],
            },
        ),
    ],
    ids=["tag", "digest", "blob", "permissions"],
)
def test_statements_of_pulls_return_the_same_rows_unprepared(
    registry: MemoryRegistry,
    single: Database,
    statement: Statement,
    parameters: dict[str, object],
) -> None:
    registry["us"].push(b"a")
    all_parameters = {"namespace": "admin", "name": "app", "bound_id": None, **parameters}
    expected = [tuple(row) for row in single.run(statement.sql, all_parameters)]
    for _ in range(EXECUTIONS):
        assert single.run(statement, all_parameters) == expected


def test_a_replaced_connection_prepares_again(single: Database) -> None:
    parameters = {"text": "a", "number": 1, "texts": []}
    single.run(ECHO, parameters)
    with pytest.raises(DatabaseUnavailable):
        single.run("SELECT pg_terminate_backend(pg_backend_pid())")
    assert single.read(ECHO, parameters)[0][0] == "a"


def test_a_statement_whose_first_execution_failed_is_executed_later(single: Database) -> None:
    inverse = Statement("SELECT 1 / %(number)s::bigint")
    with pytest.raises(psycopg2.errors.DivisionByZero):
        single.run(inverse, {"number": 0})
    for _ in range(2):
        assert single.run(inverse, {"number": 1}) == [(1,)]


def test_a_changed_type_of_a_result_is_prepared_again(single: Database) -> None:
    single.run("CREATE TABLE changing AS SELECT 1::integer AS number")
    select = Statement("SELECT number FROM changing WHERE number = %(number)s")
    assert single.run(select, {"number": 1}) == [(1,)]
    single.run("ALTER TABLE changing ALTER COLUMN number TYPE numeric")
    for _ in range(2):
        assert single.run(select, {"number": 1}) == [(1,)]


def test_an_unsupported_statement_is_reported_as_such(single: Database) -> None:
    unsupported = Statement("SELECT DISTINCT max(%(number)s::bigint) OVER () FOR UPDATE")
    with pytest.raises(psycopg2.errors.FeatureNotSupported):
        single.run(unsupported, {"number": 1})


def test_behind_a_transaction_pooler_nothing_stays_prepared_and_everything_works(
    registry: MemoryRegistry,
) -> None:
    """Processes refuse to start behind a pooler, but do not check replicas."""
    parameters = {"text": "a", "number": 1, "texts": []}
    with transaction_pooler(registry.uri, pass_options=True) as uri:
        database = pool(uri, size=2)
        database.run(ECHO, parameters)
        with database.transaction() as held:
            # The pool's second connection gets another session from the pooler.
            held.execute("SELECT 1")
            database.run(ECHO, parameters)
            held.execute("DEALLOCATE ALL")
        for _ in range(4):
            assert database.run(ECHO, parameters)[0][0] == "a"
        assert not database._prepares


def test_statements_have_names_of_their_text() -> None:
    same, other = Statement("SELECT %(a)s"), Statement("SELECT %(a)s, 1")
    assert Statement("SELECT %(b)s").name == same.name
    assert other.name != same.name


def test_a_statement_requires_its_parameters_by_name(single: Database) -> None:
    with pytest.raises(KeyError, match="number"):
        single.run(ECHO, {"text": "a", "texts": []})
    with pytest.raises(TypeError):
        single.run(ECHO, ["a", 1, []])
