"""What is not yet where it must be: blobs, bytes and the oldest age, for each location."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from prometheus_client import Gauge

from atoll.db.pool import Database

# Computed from what is required and what is placed, not from the tasks: a lost task would show.
_LAG = """
SELECT l.name, l.state,
       (SELECT count(*) FROM imagestorageplacement p
        WHERE p.location_id = l.id AND p.state = 'good'),
       count(s.id), coalesce(sum(s.image_size), 0),
       coalesce(extract(epoch FROM now() - min(s.created_at)), 0),
       (SELECT t.last_error FROM replicationtask t
        WHERE t.location_id = l.id AND t.last_error IS NOT NULL ORDER BY t.id LIMIT 1)
FROM imagestoragelocation l
LEFT JOIN imagestorage s
  ON l.name = ANY(%(required)s) AND l.state IN ('active', 'read-only')
 AND EXISTS (SELECT FROM imagestorageplacement p WHERE p.storage_id = s.id)
 AND NOT EXISTS (SELECT FROM imagestorageplacement p
                 WHERE p.storage_id = s.id AND p.location_id = l.id AND p.state = 'good')
GROUP BY l.id ORDER BY l.id
"""


MISSING = Gauge(
    "atoll_replication_missing_blobs", "Blobs that must be here, and are not", ["location"]
)
MISSING_BYTES = Gauge("atoll_replication_missing_bytes", "Bytes of those blobs", ["location"])
LAG_SECONDS = Gauge("atoll_replication_lag_seconds", "Age of the oldest of them", ["location"])


@dataclass(frozen=True)
class Lag:
    """The lag of one location; `oldest_seconds` is the age of the oldest blob that is missing."""

    location: str
    state: str
    placed_blobs: int
    missing_blobs: int
    missing_bytes: int
    oldest_seconds: float
    last_error: str | None

    def as_dict(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        return asdict(self)


def lag(database: Database, required: list[str]) -> list[Lag]:
    """Return the lag of every location that the database knows."""
    return [
        Lag(name, state, placed, missing, int(size), float(oldest), error)
        for name, state, placed, missing, size, oldest, error in database.read(
            _LAG, {"required": required}
        )
    ]


def export_lag(database: Database, required: list[str]) -> None:
    """Set the metrics to the lag as it is now."""
    for entry in lag(database, required):
        MISSING.labels(entry.location).set(entry.missing_blobs)
        MISSING_BYTES.labels(entry.location).set(entry.missing_bytes)
        LAG_SECONDS.labels(entry.location).set(entry.oldest_seconds)
