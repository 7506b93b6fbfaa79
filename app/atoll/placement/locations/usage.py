"""What each location holds, lacks and alone has: the truth, which looks at every blob."""

from __future__ import annotations

from dataclasses import dataclass

from atoll.db.pool import Database
from atoll.placement.locations.drain import remaining
from atoll.placement.upkeep.backfill import backfill

_PLACED = """
SELECT l.name, l.state, (SELECT count(*) FROM imagestorageplacement p
                         WHERE p.location_id = l.id AND p.state = 'good')
FROM imagestoragelocation l ORDER BY l.id
"""


@dataclass
class Holding:
    """Blobs at one location, those that must be and are not there, those that are only there.

    `open_uploads` are under way and have bytes there.
    """

    location: str
    state: str
    placed_blobs: int
    missing_blobs: int
    missing_bytes: int
    only_there: int
    only_there_bytes: int
    open_uploads: int


def holdings(database: Database, required: list[str]) -> list[Holding]:
    """Return what is where. REQUIRED are the default locations. Raises DatabaseUnavailable."""
    found = {
        name: Holding(name, state, placed, 0, 0, left.blobs, left.bytes, left.uploads)
        for name, state, placed in database.read(_PLACED)
        for left in [remaining(database, name)]
    }
    for step in backfill(database, required, queue=False):
        for missing in step.found:
            found[missing.location].missing_blobs += missing.blobs
            found[missing.location].missing_bytes += missing.bytes
    return list(found.values())
