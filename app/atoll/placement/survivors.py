"""Verify the copies that would be sole copies after the removal of a location.

A removal relies on records. Before anything is changed, this checks in the stores that the object
of each such copy exists.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from atoll.db.pool import Database
from atoll.placement.checks.verify import COLUMNS, THREADS, PlacementCheck, Verifier
from atoll.placement.locations.sole_copies import parameters
from atoll.placement.rules import used

# Blobs that one statement examines.
RANGE = 20_000

_SOLE = f"""
SELECT {COLUMNS}
FROM (SELECT p.storage_id FROM imagestorageplacement p
      JOIN imagestoragelocation l ON l.id = p.location_id
      WHERE l.name = %(location)s AND p.storage_id > %(after)s AND p.storage_id <= %(until)s
      UNION SELECT r.storage_id FROM removedplacement r
      JOIN imagestoragelocation l ON l.id = r.location_id
      WHERE l.name = %(location)s AND r.storage_id > %(after)s AND r.storage_id <= %(until)s) here
JOIN imagestorage s ON s.id = here.storage_id
JOIN imagestorageplacement p ON p.storage_id = s.id AND p.state = 'good'
JOIN imagestoragelocation l ON l.id = p.location_id AND l.name <> %(location)s
                           AND l.state = ANY(%(kept)s)
WHERE {used("s.id")} AND NOT EXISTS (
    SELECT FROM imagestorageplacement o JOIN imagestoragelocation ol ON ol.id = o.location_id
    WHERE o.storage_id = s.id AND o.state = 'good' AND o.id <> p.id
      AND ol.name <> %(location)s AND ol.state = ANY(%(kept)s))
ORDER BY s.id
"""

_LAST = "SELECT coalesce(max(id), 0) FROM imagestorage"


@dataclass(frozen=True)
class Checked:
    """Future sole copies of blobs up to the id `done`; `last` is the greatest id."""

    copies: list[PlacementCheck]
    done: int
    last: int

    @property
    def bad(self) -> list[PlacementCheck]:
        """Copies that are missing, have another size, or could not be verified."""
        return [one for one in self.copies if one.result or one.unreachable]


def check_survivors(database: Database, verifier: Verifier, location: str) -> Iterator[Checked]:
    """Verify the copies that would be sole copies without a location, range by range.

    Raises:
        DatabaseUnavailable: the database cannot be reached.
    """
    last = int(database.read(_LAST)[0][0])
    with ThreadPoolExecutor(THREADS, thread_name_prefix="survivors") as executor:
        for after in range(0, last, RANGE):
            until = min(after + RANGE, last)
            values = {**parameters(location), "after": after, "until": until}
            found = [PlacementCheck.from_row(row) for row in database.read(_SOLE, values)]
            check = partial(verifier.check, full=False)
            yield Checked(list(executor.map(check, found)), until, last)
