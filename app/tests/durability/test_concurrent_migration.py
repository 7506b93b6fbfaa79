"""A migration can build an index of a large table without blocking pushes."""

from __future__ import annotations

import threading

import psycopg2
import pytest
from atoll.db import migrate
from atoll.db.migrate import Migration, available, expand, statements

from ..integration.services import wait_until
from .sites import MemoryRegistry

INDEX = "imagestorage_of_test"
SQL = f"""
-- A comment; with a semicolon.
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS {INDEX}
    ON imagestorage (image_size);
CREATE INDEX CONCURRENTLY IF NOT EXISTS {INDEX}_2 ON imagestorage (image_size);
"""
_VALID = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)"
_WAITS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND query LIKE '%%CONCURRENTLY%%' AND wait_event_type = 'Lock'
"""


@pytest.fixture
def migration(registry: MemoryRegistry, monkeypatch: pytest.MonkeyPatch) -> Migration:
    # The site has found the schema that it requires, and does not check it again.
    registry["us"].database.read("SELECT 1")
    one = Migration(9001, "an_index", SQL, concurrent=True)
    monkeypatch.setattr(migrate, "available", lambda: [one])
    return one


@pytest.mark.usefixtures("migration")
def test_an_index_is_built_while_blobs_are_pushed(registry: MemoryRegistry) -> None:
    site = registry["us"]
    database = site.database
    builder = threading.Thread(target=expand, args=[database])
    with database.transaction() as cursor:
        # The index build waits for this transaction.
        cursor.execute("UPDATE imagestorage SET image_size = image_size")
        builder.start()
        wait_until("the index is being built", lambda: database.read(_WAITS)[0][0] == 1)
        digest = site.push(b"content")
    builder.join()
    assert site.placements(digest) == {"us": "good"}
    assert [database.read(_VALID, [name]) for name in (INDEX, f"{INDEX}_2")] == [[[True]]] * 2
    assert expand(database) == []


def test_an_invalid_index_of_an_interrupted_migration_is_rebuilt(
    registry: MemoryRegistry, migration: Migration
) -> None:
    site = registry["us"]
    site.push(b"same size")
    site.push(b"size same")
    with pytest.raises(psycopg2.errors.UniqueViolation):
        expand(site.database)
    assert site.database.read(_VALID, [INDEX]) == [[False]]
    site.database.run("UPDATE imagestorage SET image_size = id")
    assert expand(site.database) == [migration]
    assert site.database.read(_VALID, [INDEX]) == [[True]]


def test_every_statement_of_a_concurrent_migration_can_be_repeated() -> None:
    for one in (Migration(9001, "an_index", SQL, concurrent=True), *available()):
        if one.concurrent:
            assert statements(one.sql)
            for statement in statements(one.sql):
                assert " IF NOT EXISTS " in statement or " IF EXISTS " in statement
