"""Migrations are numbered, so that every database applies them in the same order."""

from __future__ import annotations

import pytest
from atoll import exit_codes
from atoll.cli.errors import explain
from atoll.db.migrate import SchemaMismatch, _missing, available


def test_migrations_are_numbered_from_one_without_gaps() -> None:
    assert [one.number for one in available()] == list(range(1, len(available()) + 1))


def test_the_baseline_is_not_taken_for_the_first_migration_of_a_development_version() -> None:
    with pytest.raises(SchemaMismatch, match="0001_registry") as refusal:
        _missing({1: "registry", 2: "accounts"})
    assert explain(refusal.value) == (exit_codes.FAILED, str(refusal.value))
