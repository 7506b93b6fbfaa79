"""Report what each location holds at a cost that does not depend on the number of blobs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from atoll.db import estimates
from atoll.db.estimates import pages_of
from atoll.db.pool import Database

# Count copies in quarantine and doubted copies, and find the copy that was verified longest ago.
_CHECKS = f"""
SELECT l.name,
       (SELECT count(*) FROM (
           SELECT FROM imagestorageplacement p
           WHERE p.location_id = l.id AND p.state = 'suspect' LIMIT %(limit)s) AS suspect),
       (SELECT count(*) FROM (
           SELECT FROM placementdoubt d WHERE d.location_id = l.id LIMIT %(limit)s) AS doubt),
       (SELECT p.verified_at FROM imagestorageplacement p
        WHERE p.location_id = l.id AND p.state = 'good' ORDER BY p.verified_at LIMIT 1),
       {pages_of("imagestorageplacement")}
FROM imagestoragelocation l
"""

# Count the copies of a sample, which is the whole table while that is small.
_SAMPLE = """
SELECT l.name, count(*), coalesce(sum(s.image_size), 0)::bigint
FROM imagestorageplacement p TABLESAMPLE SYSTEM (%(percent)s)
JOIN imagestorage s ON s.id = p.storage_id JOIN imagestoragelocation l ON l.id = p.location_id
WHERE p.state = 'good' GROUP BY l.name
"""


@dataclass(frozen=True)
class LocationContents:
    """The copies of a location.

    Attributes:
        blobs: good copies, with `bytes` in total.
        estimated: whether these numbers are from a sample.
        quarantined: copies whose bytes were found wrong, at most `estimates.EXACT_MAXIMUM`.
        doubted: copies that another site found wrong and its own site has not read since.
        verified_since: all good copies were read and hashed after this; None without copies.
    """

    blobs: int
    bytes: int
    estimated: bool
    quarantined: int
    doubted: int
    verified_since: datetime | None


class ContentsQuery:
    """Query the contents of all locations, in two statements."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def run(self) -> dict[str, LocationContents]:
        """Return the contents of each location by its name.

        Raises:
            DatabaseUnavailable: the database cannot be reached.
        """
        checks = self._database.read(_CHECKS, {"limit": estimates.EXACT_MAXIMUM})
        percent = estimates.sample_percent(max((row[-1] for row in checks), default=0))
        sampled = {
            name: (blobs, size)
            for name, blobs, size in self._database.read(_SAMPLE, {"percent": percent})
        }
        found = {}
        for name, quarantined, doubted, verified_since, _pages in checks:
            blobs, size = sampled.get(name, (0, 0))
            found[name] = LocationContents(
                round(blobs * 100 / percent),
                round(size * 100 / percent),
                percent < 100,  # noqa: PLR2004 - the whole table
                quarantined,
                doubted,
                verified_since,
            )
        return found
