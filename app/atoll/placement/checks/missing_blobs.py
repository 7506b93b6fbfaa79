"""Count blobs without a good copy, at a cost that does not depend on the number of blobs."""

from __future__ import annotations

from dataclasses import dataclass

from atoll.db.pool import Database

# Records that one report examines of each kind.
EXAMINED = 10_000

# Lost blobs that were pushed again have a copy. Those in quarantine are examined in the order of
# their index. PostgreSQL may answer a NOT EXISTS by reading all good copies first.
_COUNT = """
WITH lost AS (
    SELECT storage_id FROM lostblob LIMIT %(limit)s
), suspect AS (
    SELECT DISTINCT storage_id FROM (
        SELECT storage_id FROM imagestorageplacement WHERE state = 'suspect'
        ORDER BY location_id, verified_at, id LIMIT %(limit)s) AS first
), missing AS (
    SELECT storage_id FROM (SELECT * FROM lost UNION SELECT * FROM suspect) AS doubtful
    WHERE 0 = (
        SELECT count(*) FROM imagestorageplacement p
        JOIN imagestoragelocation l ON l.id = p.location_id
        WHERE p.storage_id = doubtful.storage_id AND p.state = 'good' AND l.state <> 'removed')
)
SELECT (SELECT count(*) FROM missing), (SELECT count(*) FROM lost), (SELECT count(*) FROM suspect)
"""


@dataclass(frozen=True)
class MissingBlobs:
    """Blobs without a good copy.

    Attributes:
        missing: Blobs that no location has a good copy of.
        accepted: Blobs whose loss an operator accepted by the removal of a location.
        suspect: Blobs with a copy in quarantine.
    """

    missing: int
    accepted: int
    suspect: int


def missing_blobs(database: Database) -> MissingBlobs:
    """Count blobs without a good copy among those that may have none, at most `EXAMINED` a kind.

    Raises:
        DatabaseUnavailable: The database cannot be reached.
    """
    return MissingBlobs(*database.read(_COUNT, {"limit": EXAMINED})[0])
