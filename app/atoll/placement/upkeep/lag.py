"""Missing copies of each location: blobs, bytes and the age of the oldest.

Lag is computed from the tasks: exactly for locations with less than `estimates.EXACT_MAXIMUM`
tasks, otherwise from a sample, so that the cost is bounded. The age is always exact. Missing copies
without a task are not included until the reconciler creates their tasks.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from prometheus_client import Gauge

from atoll.db import estimates
from atoll.db.estimates import BY_INDEX, pages_of
from atoll.db.pool import Database

# The oldest task is either the first of its class in the order of claims or a failed one, because
# all others are due from their creation. Tasks are counted in the order of an index; PostgreSQL may
# otherwise read the whole table for a location with few tasks.
_LAG = f"""
SELECT l.name, l.state, pending.blobs, pending.bytes,
       coalesce(extract(epoch FROM clock_timestamp() - least(waiting.oldest, failing.oldest)), 0),
       failing.blobs, failing.error, {pages_of("replicationtask")}
FROM imagestoragelocation l
CROSS JOIN LATERAL (
    SELECT count(*) AS blobs, coalesce(sum(coalesce(t.image_size, (
               SELECT s.image_size FROM imagestorage s WHERE s.id = t.storage_id))), 0) AS bytes
    FROM (SELECT storage_id, image_size FROM replicationtask t
          WHERE t.location_id = l.id
          ORDER BY t.large, t.urgent DESC, t.available_at, t.id LIMIT %(limit)s) t) pending
CROSS JOIN LATERAL (
    SELECT min(first.created_at) AS oldest
    FROM (VALUES (true, true), (true, false), (false, true), (false, false)) AS c (large, urgent)
    CROSS JOIN LATERAL (
        SELECT t.created_at FROM replicationtask t
        WHERE t.location_id = l.id AND t.large = c.large AND t.urgent = c.urgent
        ORDER BY t.available_at, t.id LIMIT 1) first) waiting
CROSS JOIN LATERAL (
    SELECT count(*) AS blobs, (array_agg(t.last_error))[1] AS error,
           (array_agg(t.created_at))[1] AS oldest
    FROM (SELECT last_error, created_at FROM replicationtask t
          WHERE t.location_id = l.id AND t.last_error IS NOT NULL
          ORDER BY t.id LIMIT %(limit)s) t) failing
ORDER BY l.id
"""

_ESTIMATE = """
SELECT l.name, count(*), coalesce(sum(t.image_size), 0), count(t.last_error)
FROM replicationtask t TABLESAMPLE SYSTEM (%(percent)s)
JOIN imagestoragelocation l ON l.id = t.location_id GROUP BY l.name
"""

PENDING = Gauge("atoll_replication_pending_blobs", "Pending copies to the location", ["location"])
PENDING_BYTES = Gauge(
    "atoll_replication_pending_bytes", "Bytes of pending copies to the location", ["location"]
)
LAG_SECONDS = Gauge(
    "atoll_replication_lag_seconds",
    "Age of the oldest pending copy to the location, in seconds; 0 without pending copies",
    ["location"],
)
FAILING = Gauge(
    "atoll_replication_failing_blobs",
    "Pending copies to the location whose last attempt failed",
    ["location"],
)
_GAUGES = (PENDING, PENDING_BYTES, LAG_SECONDS, FAILING)


@dataclass(frozen=True)
class Lag:
    """The lag of one location; `oldest_seconds` is the age of the oldest missing copy."""

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
    """Return the lag of each location.

    Raises:
        DatabaseUnavailable: the database cannot be reached.
    """
    rows = database.read(BY_INDEX + _LAG, {"limit": estimates.EXACT_MAXIMUM})
    found = [
        Lag(name, state, blobs, int(size), float(oldest), failing, error)
        for name, state, blobs, size, oldest, failing, error, _pages in rows
    ]
    if all(entry.pending_blobs < estimates.EXACT_MAXIMUM for entry in found):
        return found
    percent = estimates.sample_percent(rows[0][-1])
    sampled = {
        name: (
            int(blobs * 100 / percent),
            int(float(size) * 100 / percent),
            failing * 100 / percent,
        )
        for name, blobs, size, failing in database.read(_ESTIMATE, {"percent": percent})
    }
    return [
        _estimated(entry, *sampled.get(entry.location, (0, 0, 0)))
        if entry.pending_blobs >= estimates.EXACT_MAXIMUM
        else entry
        for entry in found
    ]


def _estimated(entry: Lag, blobs: int, size: int, failing: float) -> Lag:
    """Return `entry` with estimates from a sample, which are at least the counted numbers."""
    if entry.failing_blobs < estimates.EXACT_MAXIMUM:
        failing = entry.failing_blobs
    return replace(
        entry,
        pending_blobs=max(entry.pending_blobs, blobs),
        pending_bytes=max(entry.pending_bytes, size),
        failing_blobs=max(entry.failing_blobs, int(failing)),
    )


def export_lag(database: Database) -> list[Lag]:
    """Update the metrics of lag, and return it."""
    found = lag(database)
    for gauge in _GAUGES:
        gauge.clear()
    for entry in found:
        PENDING.labels(entry.location).set(entry.pending_blobs)
        PENDING_BYTES.labels(entry.location).set(entry.pending_bytes)
        LAG_SECONDS.labels(entry.location).set(entry.oldest_seconds)
        FAILING.labels(entry.location).set(entry.failing_blobs)
    return found
