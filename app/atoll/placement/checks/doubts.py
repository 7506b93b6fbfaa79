"""Doubts: records that a site read wrong bytes from another site's location.

The network path between the sites may be at fault instead of the object, so a doubted copy remains
good. It is read last until its own site has verified it (`doubt_review`).
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterable

from prometheus_client import Counter, Gauge

from atoll.db.pool import Database
from atoll.db.transient import run_with_retries
from atoll.placement.checks.plausibility import RecentReads
from atoll.placement.tasks import Task

log = logging.getLogger(__name__)

RECORDED = Counter(
    "atoll_replication_doubts", "Copies of other sites that this process found wrong", ["location"]
)
DOUBTED = Gauge(
    "atoll_doubted_placements",
    "Doubted copies to be read by their own site, from the database: take the maximum",
    ["location"],
)

# A copy that was written or verified after the claim may not be the one that was read.
_RECORD = """
INSERT INTO placementdoubt (storage_id, location_id, doubted_by, reason)
SELECT p.storage_id, p.location_id, %(by)s, %(reason)s
FROM imagestorageplacement p JOIN imagestoragelocation l ON l.id = p.location_id
WHERE l.name = %(location)s AND p.storage_id = %(storage_id)s AND p.state = 'good'
  AND p.verified_at < %(claimed_at)s
ON CONFLICT (storage_id, location_id) DO NOTHING
RETURNING storage_id
"""

_COUNT = """
SELECT l.name, count(d.storage_id) FROM imagestoragelocation l
LEFT JOIN placementdoubt d ON d.location_id = l.id GROUP BY l.name
"""


class Doubts:
    """Records the doubts of one worker.

    Args:
        database: where doubts are recorded.
        site: the worker's own location.
        recent: the results of recent reads. Nothing is recorded while wrong bytes are implausible.
    """

    def __init__(self, database: Database, site: str, recent: RecentReads) -> None:
        self._database = database
        self._site = site
        self._recent = recent

    def record_match(self, task: Task, locations: Iterable[str]) -> None:
        """Record that a blob's bytes from some locations were right."""
        for location in locations:
            self._recent.add(location, str(task.digest), wrong=False)

    def record_mismatch(self, task: Task, location: str, reason: str) -> None:
        """Record a doubt about a copy, at most once an hour.

        Args:
            task: the task of the blob.
            location: the copy's location.
            reason: the difference.

        Raises:
            DatabaseUnavailable, psycopg2.Error: the doubt is recorded after the next wrong read.
        """
        is_new = self._recent.add(location, str(task.digest), wrong=True)
        if not is_new or self._recent.implausible(location):
            return
        parameters = {
            "location": location,
            "storage_id": task.storage_id,
            "claimed_at": task.claimed_at,
            "by": self._site,
            "reason": f"read by {self._site} ({socket.gethostname()}): {reason}",
        }
        try:
            recorded = run_with_retries(self._database, _RECORD, parameters)
        except Exception:
            self._recent.forget(location, str(task.digest))
            raise
        if recorded:
            RECORDED.labels(location).inc()
            fields = {"digest": str(task.digest), "location": location, "reason": reason}
            log.warning("copy doubted", extra=fields)


def export_doubts(database: Database) -> None:
    """Update the metric of doubted copies."""
    for location, count in database.read(_COUNT):
        DOUBTED.labels(location).set(count)
