"""Report what each location holds and lacks, exactly: the queries read every blob."""

from __future__ import annotations

from dataclasses import dataclass

from atoll.db.pool import Database
from atoll.placement.locations.sole_copies import SoleCopies
from atoll.placement.upkeep.backfill import backfill

_PLACED = """
SELECT l.name, l.state, (SELECT count(*) FROM imagestorageplacement p
                         WHERE p.location_id = l.id AND p.state = 'good')
FROM imagestoragelocation l ORDER BY l.id
"""


@dataclass
class LocationUsage:
    """The blobs of a location. The names of the fields are those of `atoll locations --json`.

    Attributes:
        placed_blobs: good copies.
        missing_blobs: required copies that are missing, with `missing_bytes` in total.
        only_there: sole copies, with `only_there_bytes` in total.
        open_uploads: uploads in progress that have bytes there.
    """

    location: str
    state: str
    placed_blobs: int
    missing_blobs: int
    missing_bytes: int
    only_there: int
    only_there_bytes: int
    open_uploads: int


class Usage:
    """Report the usage of all locations.

    Args:
        required: the default locations.
    """

    def __init__(self, database: Database, sole_copies: SoleCopies, required: list[str]) -> None:
        self._database = database
        self._sole_copies = sole_copies
        self._required = required

    def report(self) -> list[LocationUsage]:
        """Return the usage of each location. Raises DatabaseUnavailable."""
        found = {
            name: LocationUsage(name, state, placed, 0, 0, left.blobs, left.bytes, left.uploads)
            for name, state, placed in self._database.read(_PLACED)
            for left in [self._sole_copies.remaining(name)]
        }
        for step in backfill(self._database, self._required, queue=False):
            for missing in step.found:
                found[missing.location].missing_blobs += missing.blobs
                found[missing.location].missing_bytes += missing.bytes
        return list(found.values())
