"""A database with different migrations of the same numbers is refused unchanged."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from atoll.db.migrate import SchemaMismatch, expand, pending
from atoll.db.pool import Database

from .sites import MemoryRegistry


@pytest.mark.parametrize("call", [expand, pending])
def test_a_schema_of_a_development_version_is_refused(
    registry: MemoryRegistry, call: Callable[[Database], object]
) -> None:
    database = registry["us"].database
    database.run("UPDATE schema_migration SET name = 'another' WHERE number = 1")
    with pytest.raises(SchemaMismatch, match="0001_another instead of 0001_baseline"):
        call(database)
