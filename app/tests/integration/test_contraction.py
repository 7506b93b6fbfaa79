"""What an earlier version needs is taken away when nobody runs that any more, and not before."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest
from atoll.cli.migrate import prepare_database
from atoll.db import migrate
from atoll.db.migrate import Migration
from psycopg2.errors import UndefinedTable

from .site import Site

NEXT = [
    Migration(9001, "what_replaces_it", "CREATE TABLE replacement ()"),
    Migration(9002, "what_only_earlier_versions_read", "DROP TABLE message", contracts=True),
    Migration(9003, "something_else", "CREATE TABLE something_else ()"),
]


@pytest.fixture(autouse=True)
def next_version(template: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process be of a version that has three migrations more than the TEMPLATE."""
    assert template
    present = migrate.available()
    monkeypatch.setattr(migrate, "available", lambda: present + NEXT)


def another_version_runs(site: Site, *, seconds_ago: int = 0) -> None:
    site.graph.database.run(
        "INSERT INTO instance"
        " (id, role, hostname, version, preference, bundle_fingerprint, stores, seen_at)"
        " VALUES (%s, 'registry', 'eu-1', '0.0.1', '{eustorage}', '{}', '{}',"
        " now() - make_interval(secs => %s))",
        [str(uuid4()), seconds_ago],
    )


def can_be_read(site: Site, table: str) -> bool:
    try:
        site.graph.database.read(f"SELECT FROM {table}")
    except UndefinedTable:
        return False
    return True


@pytest.mark.parametrize("seconds_ago", [0, 3600], ids=["who runs", "who is missed"])
def test_what_another_version_needs_stays_and_what_this_one_needs_comes(
    us: Site, seconds_ago: int
) -> None:
    another_version_runs(us, seconds_ago=seconds_ago)

    for applied in (["9001_what_replaces_it", "9003_something_else"], []):
        migrated = prepare_database(us.graph)

        assert migrated.applied == applied
        assert migrated.contractions == ["9002_what_only_earlier_versions_read"]
        assert migrated.others == {"eu-1": "0.0.1"}
    assert can_be_read(us, "message")
    assert can_be_read(us, "something_else")


def test_what_nobody_needs_any_more_goes_once(us: Site) -> None:
    another_version_runs(us)
    prepare_database(us.graph)
    us.graph.database.run("DELETE FROM instance")

    assert prepare_database(us.graph).applied == ["9002_what_only_earlier_versions_read"]
    assert not can_be_read(us, "message")
    assert prepare_database(us.graph).applied == []


def test_who_runs_no_other_version_waits_for_nothing(us: Site) -> None:
    assert [int(name[:4]) for name in prepare_database(us.graph).applied] == [9001, 9003, 9002]


def test_it_can_be_tried_first(us: Site) -> None:
    another_version_runs(us)

    status, printed, _ = us.command_here("migrate", "--dry-run", "--json")

    assert status == 0
    assert json.loads(printed) == {
        "applied": ["9001_what_replaces_it", "9003_something_else"],
        "contractions": ["9002_what_only_earlier_versions_read"],
        "others": {"eu-1": "0.0.1"},
    }
    assert not can_be_read(us, "something_else")
    _, printed, _ = us.command_here("migrate", "--dry-run")
    assert "to apply: 9001_what_replaces_it, 9003_something_else\n" in printed
    assert "postponed: 9002_what_only_earlier_versions_read, until eu-1 runs" in printed
