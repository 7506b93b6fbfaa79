"""Review of doubts: a site verifies all bytes of its own doubted copies and resolves each doubt.

If a location's own site has no healthy worker, a site other than the doubting one does so after a
few minutes. The review also verifies the site's quarantined copies, faster than the scrub and also
where the scrub is disabled: a blob without another copy has no task that would restore it.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass

from atoll.db.pool import Database
from atoll.placement.checks.plausibility import RecentReads
from atoll.placement.checks.repair import change_states
from atoll.placement.checks.scrub import TAKE
from atoll.placement.checks.verify import (
    COLUMNS,
    INTACT,
    PlacementCheck,
    Verifier,
    record_intact,
)
from atoll.placement.placement_cache import PlacementCache

log = logging.getLogger(__name__)

# Seconds between two reviews, and bytes read per second.
REVIEW_SECONDS, REVIEW_RATE = 5, 16 * 2**20
# Copies of one review.
_BATCH = 20
# Seconds before a copy that could not be read or judged is read again.
_RETRY_SECONDS = 60
# Seconds for which other sites leave a doubt to the location's own site.
_OTHERS_SECONDS = 300
# Seconds without a heartbeat after which an instance counts as lost: three heartbeats
# (`cluster/instances.py`).
_LOST_SECONDS = 90

_DUE = f"""
SELECT d.doubted_by, d.reason, {COLUMNS}
FROM placementdoubt d
JOIN imagestorageplacement p ON p.storage_id = d.storage_id AND p.location_id = d.location_id
JOIN imagestorage s ON s.id = p.storage_id JOIN imagestoragelocation l ON l.id = p.location_id
WHERE p.state = 'good' AND l.state <> 'removed' AND l.name = ANY(%(reachable)s)
  AND (d.looked_at IS NULL
       OR d.looked_at < clock_timestamp() - make_interval(secs => {_RETRY_SECONDS}))
  AND (l.name = %(own)s OR (
      d.doubted_by <> %(own)s
      AND d.doubted_at < clock_timestamp() - make_interval(secs => {_OTHERS_SECONDS})
      AND NOT EXISTS (
          SELECT FROM instance i WHERE i.role = 'replication' AND i.preference[1] = l.name
          AND i.seen_at > clock_timestamp() - make_interval(secs => {_LOST_SECONDS}))))
ORDER BY l.name <> %(own)s, d.looked_at NULLS FIRST, d.doubted_at LIMIT {_BATCH}
"""

_RECORD_CHECK = """
UPDATE placementdoubt d SET looked_at = clock_timestamp()
FROM imagestorageplacement p
WHERE p.storage_id = d.storage_id AND p.location_id = d.location_id AND p.id = ANY(%(ids)s)
"""


@dataclass(frozen=True)
class _Doubt:
    """A doubted copy, the doubting site, and the reason."""

    doubted_by: str
    reason: str
    placement: PlacementCheck


class DoubtReview:
    """Resolves doubts about copies at a site's own location, and after a while at others.

    Args:
        database: where doubts are recorded.
        verifier: reads the copies.
        own: the site's own location.
        reachable: names of the locations in this site's bundle.
        recent: results of this process's reads, by which defects are plausible or not.
        cache: the cached placements of blobs.
    """

    def __init__(
        self,
        database: Database,
        verifier: Verifier,
        own: str,
        *,
        reachable: Collection[str],
        recent: RecentReads,
        cache: PlacementCache,
    ) -> None:
        self._database = database
        self._verifier = verifier
        self._own = own
        self._reachable = reachable
        self._recent = recent
        self._cache = cache

    def step(self) -> bool:
        """Verify a batch of doubted copies and a batch of quarantined ones.

        Returns:
            True if a doubt was resolved or a copy restored, so that there may be more to do.
        """
        self._recent.refresh()
        reachable = [name for name in self._reachable if self._verifier.reachable(name)]
        rows = self._database.read(_DUE, {"own": self._own, "reachable": reachable})
        checks = [
            self._check(_Doubt(row[0], row[1], PlacementCheck.from_row(row[2:]))) for row in rows
        ]
        wrong = [one for one in checks if one.result is not None]
        changing = [one for one in wrong if not self._recent.implausible(one.location)]
        for one in changing:
            for changed in change_states(self._database, one.location, [one]):
                self._cache.forget(changed.digest)
        right = [one for one in checks if one.hashed]
        if unresolved := [one.id for one in checks if one not in changing and one not in right]:
            self._database.run(_RECORD_CHECK, {"ids": unresolved})
        return bool(right or changing or self._restore())

    def _restore(self) -> bool:
        """Verify the site's next quarantined copies, and return whether one was restored."""
        if not self._verifier.reachable(self._own):
            return False
        parameters = {"location": self._own, "state": "suspect", "age": 0, "limit": _BATCH}
        rows = self._database.run(TAKE, parameters)
        checks = [self._verifier.check(PlacementCheck.from_row(row), full=True) for row in rows]
        intact = [one for one in checks if one.result == INTACT]
        if not intact:
            return False
        for changed in change_states(self._database, self._own, intact):
            self._cache.forget(changed.digest)
        return True

    def _check(self, doubt: _Doubt) -> PlacementCheck:
        """Verify all bytes of a copy, and remove the doubt if they are right."""
        check = self._verifier.check(doubt.placement, full=True)
        fields = {
            "digest": str(check.digest),
            "location": check.location,
            "doubted_by": doubt.doubted_by,
            "reason": doubt.reason,
        }
        if check.unreachable is not None:
            log.warning("doubted copy not read", extra={**fields, "cause": check.unreachable})
            return check
        wrong = check.result is not None
        self._recent.add(check.location, str(check.digest), wrong=wrong)
        if not wrong:
            log.warning("doubted copy intact, network path suspected", extra=fields)
            record_intact(self._database, [check])
        return check
