"""Doubts: what a site records when it reads wrong bytes at another site's location.

The path between two sites may be at fault as well as the object, so a doubted copy stays good. It
is only read last until its own site has read it as a whole (`doubt_review`).
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

# A copy that was written again, or found right, since the claim is not the one that was read.
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
    """Records the doubts of the worker whose own location is SITE.

    RECENT decides whether wrong bytes are plausible: where they are not, nothing is recorded.
    """

    def __init__(self, database: Database, site: str, recent: RecentReads) -> None:
        self._database = database
        self._site = site
        self._recent = recent

    def right(self, task: Task, locations: Iterable[str]) -> None:
        """Note that the blob's bytes from LOCATIONS were right."""
        for location in locations:
            self._recent.add(location, str(task.digest), wrong=False)

    def wrong(self, task: Task, location: str, reason: str) -> None:
        """Doubt the copy at LOCATION, once an hour at most.

        Raises:
            DatabaseUnavailable, psycopg2.Error: the next wrong read raises the doubt again.
        """
        news = self._recent.add(location, str(task.digest), wrong=True)
        if not news or self._recent.implausible(location):
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
            log.warning("copy doubted; its own site will read it", extra=fields)


def export_doubts(database: Database) -> None:
    """Set the metric of doubted copies for each location."""
    for location, count in database.read(_COUNT):
        DOUBTED.labels(location).set(count)
