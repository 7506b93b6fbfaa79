"""Contracting migrations run once no instance of an earlier version is left, and not before."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest
from atoll.db import migrate
from atoll.db.migrate import Migration
from atoll.server.migration import prepare_database
from psycopg2.errors import UndefinedTable

from .site import Site

NEXT = [
    Migration(9001, "what_replaces_it", "CREATE TABLE replacement ()"),
    Migration(9002, "what_only_earlier_versions_read", "DROP TABLE message", contracts=True),
    Migration(9003, "something_else", "CREATE TABLE something_else ()"),
]


@pytest.fixture(autouse=True)
def next_version(us: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this process a later version, with three more migrations than the template."""
    # The pool of this site has found the schema that it requires, and does not check it again.
    us.services.database.read("SELECT 1")
    present = migrate.available()
    monkeypatch.setattr(migrate, "available", lambda: present + NEXT)


def insert_instance_of_another_version(site: Site, *, seconds_ago: int = 0) -> None:
    site.services.database.run(
        "INSERT INTO instance"
        " (id, role, hostname, version, preference, bundle_fingerprint, stores, seen_at)"
        " VALUES (%s, 'registry', 'eu-1', '0.0.1', '{eustorage}', '{}', '{}',"
        " now() - make_interval(secs => %s))",
        [str(uuid4()), seconds_ago],
    )


def table_exists(site: Site, table: str) -> bool:
    try:
        site.services.database.read(f"SELECT FROM {table}")
    except UndefinedTable:
        return False
    return True


@pytest.mark.parametrize("seconds_ago", [0, 3600], ids=["running", "missing"])
def test_another_version_defers_contraction_but_not_expansion(us: Site, seconds_ago: int) -> None:
    insert_instance_of_another_version(us, seconds_ago=seconds_ago)

    for applied in (["9001_what_replaces_it", "9003_something_else"], []):
        migrated = prepare_database(us.services)

        assert migrated.applied == applied
        assert migrated.contractions == ["9002_what_only_earlier_versions_read"]
        assert migrated.others == {"eu-1": "0.0.1"}
    assert table_exists(us, "message")
    assert table_exists(us, "something_else")


def test_contraction_runs_once_when_no_other_version_runs(us: Site) -> None:
    insert_instance_of_another_version(us)
    prepare_database(us.services)
    us.services.database.run("DELETE FROM instance")

    assert prepare_database(us.services).applied == ["9002_what_only_earlier_versions_read"]
    assert not table_exists(us, "message")
    assert prepare_database(us.services).applied == []


def test_contraction_does_not_wait_without_other_versions(us: Site) -> None:
    assert [int(name[:4]) for name in prepare_database(us.services).applied] == [9001, 9003, 9002]


def test_contraction_has_a_dry_run(us: Site) -> None:
    insert_instance_of_another_version(us)

    status, printed, _ = us.command_here("migrate", "--dry-run", "--json")

    assert status == 0
    assert json.loads(printed) == {
        "applied": ["9001_what_replaces_it", "9003_something_else"],
        "contractions": ["9002_what_only_earlier_versions_read"],
        "others": {"eu-1": "0.0.1"},
    }
    assert not table_exists(us, "something_else")
    _, printed, _ = us.command_here("migrate", "--dry-run")
    assert "to apply: 9001_what_replaces_it, 9003_something_else\n" in printed
    assert "postponed: 9002_what_only_earlier_versions_read, until eu-1 runs" in printed
