"""The history of lag: one sample of each location each half minute, kept for seven days.

One process of all sites writes the samples: the one that takes an advisory lock while the last
sample is old enough. Curves of more than a few hours are read from the maxima of five minutes, so
that their cost is bounded for many locations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from atoll.db.advisory_locks import LAG_SAMPLES, try_lock
from atoll.db.pool import Database
from atoll.placement.upkeep.lag import Lag

HOURS_MAXIMUM = 168
# Curves of at most so many hours are read from the samples, longer ones from the maxima.
_EXACT_HOURS = 6
POINTS_MAXIMUM = 300
_PEAK_SECONDS = 300
# A sample is due a little earlier than the processes try, so that none of their turns is too early.
_DUE_SECONDS = 29
# Old rows that one step deletes of each table: more than a step writes, even for many locations.
_DELETED = 5000
# The period that rates are computed from.
_RATE_SECONDS = 300

_LOCK = f"SELECT {try_lock(LAG_SAMPLES)}"
_IS_DUE = """
SELECT NOT EXISTS (SELECT FROM lagsample WHERE at > now() - make_interval(secs => %(due)s))
"""

# A location that is being deleted at this moment is skipped.
_RECORD = """
WITH sampled AS MATERIALIZED (
    SELECT l.id, s.blobs, s.bytes, s.seconds
    FROM unnest(%(names)s::text[], %(blobs)s::bigint[], %(bytes)s::bigint[], %(seconds)s::float8[])
         AS s (name, blobs, bytes, seconds)
    JOIN imagestoragelocation l ON l.name = s.name
    WHERE l.state <> 'removed' ORDER BY l.id FOR KEY SHARE OF l SKIP LOCKED
), peaks AS (
    INSERT INTO lagpeak AS p (location_id, at, blobs, bytes, seconds)
    SELECT id, date_bin(make_interval(secs => %(peak)s), now(), 'epoch'), blobs, bytes, seconds
    FROM sampled ORDER BY id
    ON CONFLICT (location_id, at) DO UPDATE
    SET blobs = greatest(p.blobs, EXCLUDED.blobs), bytes = greatest(p.bytes, EXCLUDED.bytes),
        seconds = greatest(p.seconds, EXCLUDED.seconds)
)
INSERT INTO lagsample (location_id, at, blobs, bytes, seconds)
SELECT id, now(), blobs, bytes, seconds FROM sampled;
"""

_PRUNE = """
DELETE FROM {table} WHERE (location_id, at) IN (
    SELECT location_id, at FROM {table} WHERE at < now() - make_interval(hours => %(hours)s)
    ORDER BY at LIMIT %(deleted)s);
"""
_RECORD_AND_PRUNE = _RECORD + "".join(_PRUNE.format(table=one) for one in ("lagsample", "lagpeak"))

_CURVES = """
SELECT l.name, p.at, p.blobs, p.bytes, p.seconds
FROM imagestoragelocation l LEFT JOIN LATERAL (
    SELECT date_bin(make_interval(secs => %(interval)s), s.at, 'epoch') AS at,
           max(s.blobs) AS blobs, max(s.bytes) AS bytes, max(s.seconds) AS seconds
    FROM {table} s
    WHERE s.location_id = l.id AND s.at > now() - make_interval(hours => %(hours)s)
    GROUP BY 1) p ON true
WHERE %(location)s::text IS NULL OR l.name = %(location)s
ORDER BY l.id, p.at
"""

# The first and the last sample of the last minutes.
_RATES = """
SELECT l.name, (first.blobs - last.blobs) / period.seconds,
       (first.bytes - last.bytes) / period.seconds
FROM imagestoragelocation l
CROSS JOIN LATERAL (
    SELECT s.at, s.blobs, s.bytes FROM lagsample s
    WHERE s.location_id = l.id AND s.at > now() - make_interval(secs => %(period)s)
    ORDER BY s.at LIMIT 1) first
CROSS JOIN LATERAL (
    SELECT s.at, s.blobs, s.bytes FROM lagsample s
    WHERE s.location_id = l.id ORDER BY s.at DESC LIMIT 1) last
CROSS JOIN LATERAL (SELECT extract(epoch FROM last.at - first.at)::float8 AS seconds) period
WHERE period.seconds > 0
"""


@dataclass(frozen=True)
class Point:
    """The greatest lag of an interval.

    Attributes:
        at: the start of the interval.
        blobs: missing copies.
        bytes: their bytes.
        seconds: the age of the oldest one.
    """

    at: datetime
    blobs: int
    bytes: int
    seconds: float


@dataclass(frozen=True)
class Curves:
    """The lag of locations over a period; `interval_seconds` lie between two points."""

    interval_seconds: int
    points: dict[str, list[Point]]


@dataclass(frozen=True)
class Rate:
    """The decrease of missing copies per second; negative while they increase."""

    blobs: float
    bytes: float

    def seconds_left(self, blobs: int, size: int) -> float | None:
        """Return the seconds until nothing is missing, or None unless the lag decreases.

        Args:
            blobs: missing copies.
            size: their bytes.
        """
        if not blobs:
            return 0.0
        left, rate = (size, self.bytes) if size else (blobs, self.blobs)
        return left / rate if rate > 0 else None


class LagSamples:
    """Writes and reads samples of lag."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, found: Sequence[Lag]) -> bool:
        """Write a sample of each location if one is due, and delete old ones.

        Args:
            found: the lag of each location now.

        Returns:
            Whether this process wrote samples.

        Raises:
            DatabaseUnavailable: the database cannot be reached.
        """
        with self._database.transaction() as cursor:
            cursor.execute(_LOCK)
            if not cursor.fetchall()[0][0]:
                return False
            # A statement of its own, which sees what the last lock holder wrote.
            cursor.execute(_IS_DUE, {"due": _DUE_SECONDS})
            if not cursor.fetchall()[0][0]:
                return False
            cursor.execute(
                _RECORD_AND_PRUNE,
                {
                    "names": [one.location for one in found],
                    "blobs": [one.pending_blobs for one in found],
                    "bytes": [one.pending_bytes for one in found],
                    "seconds": [one.oldest_seconds for one in found],
                    "peak": _PEAK_SECONDS,
                    "hours": HOURS_MAXIMUM,
                    "deleted": _DELETED,
                },
            )
        return True

    def curves(
        self, hours: int, location: str | None = None, *, points: int = POINTS_MAXIMUM
    ) -> Curves:
        """Return the lag of the last hours.

        Args:
            hours: the period, from 1 to HOURS_MAXIMUM.
            location: a location, None for all.
            points: about the most points of each location, up to POINTS_MAXIMUM.

        Returns:
            The points of each location in order of time; no location if it is unknown.

        Raises:
            DatabaseUnavailable: the database cannot be reached.
        """
        interval, table = hours * 3600 // points, "lagsample"
        if hours > _EXACT_HOURS:
            interval, table = -(-interval // _PEAK_SECONDS) * _PEAK_SECONDS, "lagpeak"
        rows = self._database.read(
            _CURVES.format(table=table),
            {"interval": interval, "hours": hours, "location": location},
        )
        found: dict[str, list[Point]] = {}
        for name, at, *values in rows:
            of_location = found.setdefault(name, [])
            if at is not None:
                of_location.append(Point(at, *values))
        return Curves(interval, found)

    def rates(self) -> dict[str, Rate]:
        """Return the rates of the last five minutes, of locations with two samples in them.

        Raises:
            DatabaseUnavailable: the database cannot be reached.
        """
        rows = self._database.read(_RATES, {"period": _RATE_SECONDS})
        return {name: Rate(blobs, size) for name, blobs, size in rows}
