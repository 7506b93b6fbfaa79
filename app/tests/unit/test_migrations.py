"""Migrations are numbered, so that every database applies them in the same order."""

from __future__ import annotations

from atoll.db.migrate import available


def test_migrations_are_numbered_from_one_without_gaps() -> None:
    assert [one.number for one in available()] == list(range(1, len(available()) + 1))
