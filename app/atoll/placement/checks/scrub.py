"""The scrub: slow background verification of a site's own copies, those verified longest ago first.

A copy is quarantined if two reads a minute apart find it defective, and is then written again from
a good copy. While implausibly many copies are defective, nothing is quarantined, because the store
or the path to it is at fault. The database stores the position of the scrub, and otherwise only
intact copies and changes of state.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from prometheus_client import Counter

from atoll.db.pool import Database
from atoll.placement.checks.plausibility import RecentReads
from atoll.placement.checks.repair import change_states
from atoll.placement.checks.verify import (
    COLUMNS,
    INTACT,
    PlacementCheck,
    Verifier,
    record_intact,
)
from atoll.placement.placement_cache import PlacementCache

log = logging.getLogger(__name__)

# Placements of one step, quarantined ones among them, which come first, and second reads, of which
# there is one, so that confirming damage remains a small share of all reads.
_TURN, _QUARANTINED, _SECOND_READS = 20, 10, 1
# Seconds between the starts of two passes, between two reads of a defective copy, and of the pause
# when results are implausible.
PASS_SECONDS, SECOND_READ_SECONDS, IMPLAUSIBLE_SECONDS = 3600, 60.0, 300.0
# Copies that wait for their second read; the next pass finds the others again.
_WAITING = 1000

VERIFIED = Counter(
    "atoll_verified_placements", "Copies that the scrub read and found right", ["location"]
)

# Advances the position before the copies are read, so that two workers of a site read different
# copies. Scalar subqueries and now(), which are constant within a statement, bound the index scan
# at both ends, so that the end of a pass reads no newer placements.
TAKE = f"""
INSERT INTO scrubpass (location_id, state)
SELECT id, %(state)s FROM imagestoragelocation WHERE name = %(location)s AND state <> 'removed'
ON CONFLICT (location_id, state) DO NOTHING;
WITH pass AS (
    SELECT * FROM scrubpass WHERE state = %(state)s AND location_id = (
        SELECT id FROM imagestoragelocation WHERE name = %(location)s AND state <> 'removed')
    FOR UPDATE
), due AS (
    SELECT p.* FROM imagestorageplacement p
    WHERE p.location_id = (SELECT location_id FROM pass) AND p.state = %(state)s
      AND p.verified_at < now() - make_interval(secs => %(age)s)
      AND p.verified_at >= (SELECT verified_at FROM pass)
      AND (p.verified_at, p.id) > ((SELECT verified_at FROM pass),
                                   (SELECT placement_id FROM pass))
    ORDER BY p.verified_at, p.id LIMIT %(limit)s
), moved AS (
    UPDATE scrubpass s SET verified_at = last.verified_at, placement_id = last.id,
        looked_at = clock_timestamp()
    FROM (SELECT verified_at, id FROM due ORDER BY verified_at DESC, id DESC LIMIT 1) last, pass
    WHERE s.location_id = pass.location_id AND s.state = pass.state
), restarted AS (
    UPDATE scrubpass s SET verified_at = '-infinity', placement_id = 0,
        started_at = clock_timestamp()
    FROM pass
    WHERE s.location_id = pass.location_id AND s.state = pass.state AND NOT EXISTS (SELECT FROM due)
      AND pass.placement_id > 0
      AND pass.started_at < clock_timestamp() - make_interval(secs => {PASS_SECONDS})
)
SELECT {COLUMNS}
FROM due p
JOIN imagestorage s ON s.id = p.storage_id JOIN imagestoragelocation l ON l.id = p.location_id
"""

_STILL_GOOD = f"""
SELECT {COLUMNS}
FROM imagestorageplacement p
JOIN imagestorage s ON s.id = p.storage_id JOIN imagestoragelocation l ON l.id = p.location_id
WHERE p.id = ANY(%(ids)s) AND p.state = 'good' AND l.state <> 'removed'
"""


@dataclass
class _FirstRead:
    """A first read, of a copy last verified at `verified_at`; the second one is due at `due`."""

    verified_at: datetime
    due: float


class _SecondReads:
    """Copies that one read found defective. In memory only: a restart begins with first reads."""

    def __init__(self) -> None:
        self._waiting: dict[int, _FirstRead] = {}

    def due(self, now: float) -> list[int]:
        """Return the ids of placements whose second read is due, oldest first."""
        ids = [id_ for id_, first in self._waiting.items() if first.due <= now]
        return ids[:_SECOND_READS]

    def confirms(self, check: PlacementCheck, now: float) -> bool:
        """Return whether a copy that is defective now was also defective at least a minute ago."""
        first = self._waiting.get(check.id)
        return first is not None and first.verified_at == check.verified_at and first.due <= now

    def schedule(self, check: PlacementCheck, now: float) -> None:
        """Schedule the second read of a defective copy, after the others.

        A copy that could not be read remains scheduled, but is not added.
        """
        scheduled = self._waiting.pop(check.id, None) is not None
        if scheduled or (check.result is not None and len(self._waiting) < _WAITING):
            due = now + SECOND_READ_SECONDS
            self._waiting[check.id] = _FirstRead(check.verified_at, due)

    def drop(self, ids: set[int]) -> None:
        """Drop copies that are intact, quarantined or deleted."""
        for id_ in ids:
            self._waiting.pop(id_, None)


class Scrubber:
    """Verifies the copies at one location that were not verified for a while.

    Args:
        database: where the placements are.
        verifier: reads the copies.
        location: the location.
        age: seconds after which a copy is verified again.
        recent: results of this process's reads, by which defects are plausible or not.
        cache: the cached placements of blobs.
        monotonic: a clock in seconds.
    """

    def __init__(
        self,
        database: Database,
        verifier: Verifier,
        location: str,
        *,
        age: int,
        recent: RecentReads,
        cache: PlacementCache,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._verifier = verifier
        self._location = location
        self._age = age
        self._recent = recent
        self._cache = cache
        self._monotonic = monotonic
        self._second_reads = _SecondReads()
        self._paused_until = monotonic()

    def step(self) -> bool:
        """Verify a batch of placements and act on defective ones.

        Returns:
            True if a copy was verified or changed its state, so that there may be more to do.
        """
        now = self._monotonic()
        if now < self._paused_until or not self._verifier.reachable(self._location):
            return False
        placements = [*self._second_read(now), *self._take("suspect", 0, _QUARANTINED)]
        placements += self._take("good", self._age, _TURN - len(placements))
        checks = [self._verifier.check(placement, full=True) for placement in placements]
        right = [one for one in checks if one.hashed]
        if right:
            record_intact(self._database, right)
            VERIFIED.labels(self._location).inc(len(right))
        changing = [one for one in checks if one.result == INTACT] + self._confirmed(checks)
        changed = self._change_states(changing) if changing else 0
        return bool(right or changed)

    def _take(self, state: str, age: int, limit: int) -> list[PlacementCheck]:
        """Return the next placements of the pass over one state."""
        parameters = {"location": self._location, "state": state, "age": age, "limit": limit}
        return [PlacementCheck.from_row(row) for row in self._database.run(TAKE, parameters)]

    def _second_read(self, now: float) -> list[PlacementCheck]:
        """Return the good placements whose second read is due, and drop the others."""
        ids = self._second_reads.due(now)
        if not ids:
            return []
        found = [
            PlacementCheck.from_row(row) for row in self._database.read(_STILL_GOOD, {"ids": ids})
        ]
        self._second_reads.drop(set(ids) - {one.id for one in found})
        return found

    def _confirmed(self, checks: list[PlacementCheck]) -> list[PlacementCheck]:
        """Return the copies to quarantine: defective twice, and plausibly so."""
        judged = [one for one in checks if not one.quarantined]
        for one in judged:
            if one.unreachable is None:
                wrong = one.result is not None
                self._recent.add(self._location, str(one.digest), wrong=wrong)
        now = self._monotonic()
        self._second_reads.drop({one.id for one in judged if one.hashed})
        plausible = not self._recent.implausible(self._location)
        if not plausible:
            self._paused_until = now + IMPLAUSIBLE_SECONDS
        confirmed = []
        for one in judged:
            if plausible and one.result is not None and self._second_reads.confirms(one, now):
                confirmed.append(one)
            elif not one.hashed:
                self._second_reads.schedule(one, now)
        return confirmed

    def _change_states(self, changing: list[PlacementCheck]) -> int:
        """Quarantine or restore placements, and return the number of changed ones."""
        changed = 0
        for one in change_states(self._database, self._location, changing):
            self._cache.forget(one.digest)
            changed += 1
        self._second_reads.drop({one.id for one in changing})
        return changed
