"""Register the configured locations in the database."""

from __future__ import annotations

from collections.abc import Iterable

from atoll.db.pool import Database

# In the order of the bundle, in which locations are listed. A conflict alone would take a number of
# the sequence at each start.
_REGISTER = """
INSERT INTO imagestoragelocation (name)
SELECT name FROM unnest(%(names)s::text[]) WITH ORDINALITY AS given (name, position)
WHERE NOT EXISTS (SELECT FROM imagestoragelocation l WHERE l.name = given.name)
ORDER BY position
ON CONFLICT (name) DO NOTHING
"""


def register_locations(database: Database, names: Iterable[str]) -> None:
    """Add a row for each location that has none; existing rows are unchanged."""
    database.run(_REGISTER, {"names": list(names)})
