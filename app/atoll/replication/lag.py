"""What is not yet where it must be: blobs, bytes and the oldest age, for each location.

Counted from the tasks alone, so the cost grows with what is to be done, not with what there is. A
need without a task would not show; the reconciler makes it one.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from prometheus_client import Gauge

from atoll.db.pool import Database

_LAG = """
SELECT l.name, l.state, pending.blobs, pending.bytes, pending.oldest, failing.blobs,
       (SELECT t.last_error FROM replicationtask t
        WHERE t.location_id = l.id AND t.last_error IS NOT NULL ORDER BY t.id LIMIT 1)
FROM imagestoragelocation l
CROSS JOIN LATERAL (
    SELECT count(*) AS blobs, coalesce(sum(coalesce(t.image_size, (
               SELECT s.image_size FROM imagestorage s WHERE s.id = t.storage_id))), 0) AS bytes,
           coalesce(extract(epoch FROM clock_timestamp() - min(t.created_at)), 0) AS oldest
    FROM replicationtask t WHERE t.location_id = l.id) pending
CROSS JOIN LATERAL (
    SELECT count(*) AS blobs
    FROM replicationtask t WHERE t.location_id = l.id AND t.last_error IS NOT NULL) failing
ORDER BY l.id
"""

PENDING = Gauge("atoll_replication_pending_blobs", "Blobs that are to be copied here", ["location"])
PENDING_BYTES = Gauge("atoll_replication_pending_bytes", "Bytes of those blobs", ["location"])
LAG_SECONDS = Gauge(
    "atoll_replication_lag_seconds", "Seconds that the oldest of them has waited", ["location"]
)
FAILING = Gauge(
    "atoll_replication_failing_blobs", "Those of them whose last attempt failed", ["location"]
)
_GAUGES = (PENDING, PENDING_BYTES, LAG_SECONDS, FAILING)


@dataclass(frozen=True)
class Lag:
    """The lag of one location; `oldest_seconds` is how long the oldest copy has been due."""

    location: str
    state: str
    pending_blobs: int
    pending_bytes: int
    oldest_seconds: float
    failing_blobs: int
    last_error: str | None

    def as_dict(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        return asdict(self)


def lag(database: Database) -> list[Lag]:
    """Return the lag of every location that the database knows. Raises DatabaseUnavailable."""
    return [
        Lag(name, state, blobs, int(size), float(oldest), failing, error)
        for name, state, blobs, size, oldest, failing, error in database.read(_LAG)
    ]


def export_lag(database: Database) -> None:
    """Set the metrics to the lag as it is now."""
    found = lag(database)
    for gauge in _GAUGES:
        gauge.clear()
    for entry in found:
        PENDING.labels(entry.location).set(entry.pending_blobs)
        PENDING_BYTES.labels(entry.location).set(entry.pending_bytes)
        LAG_SECONDS.labels(entry.location).set(entry.oldest_seconds)
        FAILING.labels(entry.location).set(entry.failing_blobs)
