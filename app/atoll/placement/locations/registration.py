"""Register the configured locations in the database."""

from __future__ import annotations

from collections.abc import Iterable

from atoll.db.pool import Database

_REGISTER = """
INSERT INTO imagestoragelocation (name) SELECT unnest(%(names)s::text[])
ON CONFLICT (name) DO NOTHING
"""


def register_locations(database: Database, names: Iterable[str]) -> None:
    """Add a row for each location that has none; existing rows are unchanged."""
    database.run(_REGISTER, {"names": list(names)})
