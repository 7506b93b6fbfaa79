"""Delete over-replicated copies: those at locations that policies exclude.

A copy is over-replicated if every repository that uses the blob excludes its location. It is
deleted only when each location that requires the blob has a good copy, and so does one that allows
it; until then it waits. The transaction that deletes its placement queues the deletion of its
object.

A push, a mount or a manifest that uses a blob holds the lock on its digest. The deletion takes the
lock exclusively and reads the blob again. It also locks the rows of all locations, so that none can
begin to drain until the copies are deleted. Draining locations do not count here, and only draining
locations are removed, so deletions and removals never rely on each other's copies.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import prometheus_client

from atoll.db.pool import Database
from atoll.placement.locks import try_lock_digest
from atoll.placement.placement_cache import PlacementCache
from atoll.placement.rules import allowed_of, required_of, used
from atoll.storage.base import LINK_SECONDS
from atoll.storage.states import KEPT

log = logging.getLogger(__name__)

# Blobs that one statement examines, and copies that one transaction deletes.
RANGE, BATCH = 20_000, 200

REMOVED = prometheus_client.Counter(
    "atoll_excess_removed", "Over-replicated copies deleted from excluded locations", ["location"]
)

_EXCLUDED_ANYWHERE = "SELECT EXISTS (SELECT FROM replicationpolicy WHERE excluded <> '{}')"

_LAST = "SELECT coalesce(max(id), 0) FROM imagestorage"

# Conditions on placement `p` at location `l`. A copy that is being written waits.
_OVER_REPLICATED = f"""
    l.state <> 'removed'
    AND EXISTS (SELECT FROM replicationpolicy x WHERE l.name = ANY(x.excluded))
    AND {used("p.storage_id")} AND NOT {allowed_of("p.storage_id", "l")}"""

_CAN_BE_DELETED = f"""
    EXISTS (SELECT FROM imagestorageplacement o
            JOIN imagestoragelocation ol ON ol.id = o.location_id
            WHERE o.storage_id = p.storage_id AND o.state = 'good' AND ol.state = ANY(%(kept)s)
              AND ol.id <> l.id AND {allowed_of("p.storage_id", "ol")})
    AND NOT EXISTS (SELECT FROM imagestoragelocation must
                    WHERE {required_of("p.storage_id", "must")} AND NOT EXISTS (
                        SELECT FROM imagestorageplacement o WHERE o.storage_id = p.storage_id
                        AND o.location_id = must.id AND o.state = 'good'))
    AND NOT EXISTS (SELECT FROM replicationtask t
                    WHERE t.storage_id = p.storage_id AND t.location_id = l.id
                      AND t.lease_expires > clock_timestamp())"""

_FIND = f"""
SELECT p.storage_id, l.name, s.image_size, {_CAN_BE_DELETED}
FROM imagestorageplacement p JOIN imagestoragelocation l ON l.id = p.location_id
JOIN imagestorage s ON s.id = p.storage_id
WHERE p.storage_id > %(after)s AND p.storage_id <= %(until)s AND {_OVER_REPLICATED}
ORDER BY p.storage_id, l.name
"""

# Waits for a state change in progress, but not for the proof of a removal.
_LOCK_LOCATIONS = "SELECT id FROM imagestoragelocation ORDER BY id FOR SHARE"

# A blob whose lock is held is about to be used and is examined in the next round.
_LOCK_BLOBS = f"""
SELECT id FROM (SELECT id, content_checksum FROM imagestorage WHERE id = ANY(%(ids)s)
                ORDER BY id) AS found
WHERE {try_lock_digest("content_checksum")}
"""

_DELETE = f"""
WITH gone AS (
    DELETE FROM imagestorageplacement p USING imagestoragelocation l
    WHERE l.id = p.location_id AND p.storage_id = ANY(%(ids)s) AND {_OVER_REPLICATED}
      AND {_CAN_BE_DELETED}
    RETURNING p.storage_id, p.location_id, l.name
), tasks AS (
    DELETE FROM replicationtask t USING gone
    WHERE t.storage_id = gone.storage_id AND t.location_id = gone.location_id
      AND (t.lease_expires IS NULL OR t.lease_expires <= clock_timestamp())
), queued AS (
    INSERT INTO objectdeletion (storage_id, location_id, available_at)
    SELECT storage_id, location_id, clock_timestamp() + make_interval(secs => %(links)s) FROM gone
    ON CONFLICT (storage_id, location_id) DO NOTHING
)
SELECT s.content_checksum, gone.name, s.image_size
FROM gone JOIN imagestorage s ON s.id = gone.storage_id
"""


@dataclass
class Step:
    """Over-replicated copies in a range of blobs, by location.

    Attributes:
        done: the last examined id.
        last: the greatest id.
        removed: copies that were or can be deleted.
        removed_bytes: bytes of these copies.
        waiting: copies that wait for a copy at another location.
        waiting_bytes: bytes of these copies.
    """

    done: int
    last: int
    removed: Counter[str] = field(default_factory=Counter)
    removed_bytes: Counter[str] = field(default_factory=Counter)
    waiting: Counter[str] = field(default_factory=Counter)
    waiting_bytes: Counter[str] = field(default_factory=Counter)


class OverReplication:
    """Finds and deletes over-replicated copies."""

    def __init__(
        self,
        database: Database,
        required: list[str],
        cache: PlacementCache,
        *,
        links: float = LINK_SECONDS,
    ) -> None:
        """Make the activity.

        Args:
            database: where the placements are.
            required: the default locations.
            cache: the cached placements of blobs.
            links: seconds for which objects are kept, for clients that have a URL.
        """
        self._database = database
        self._values = {"required": required, "kept": list(KEPT), "links": links}
        self._cache = cache
        self._after = 0

    def everything(self, *, remove: bool) -> Iterator[Step]:
        """Yield the over-replicated copies of each range of blobs.

        Args:
            remove: whether to delete them, rather than only report them.

        Raises:
            DatabaseUnavailable: the batch in progress was rolled back.
        """
        if not self._database.read(_EXCLUDED_ANYWHERE)[0][0]:
            return
        last = int(self._database.read(_LAST)[0][0])
        for after in range(0, last, RANGE):
            yield self._range(after, min(after + RANGE, last), last, remove=remove)

    def step(self) -> bool:
        """Delete copies in the next range of blobs, and return whether there were any."""
        if not self._database.read(_EXCLUDED_ANYWHERE)[0][0]:
            return False
        last = int(self._database.read(_LAST)[0][0])
        found = self._range(self._after, min(self._after + RANGE, last), last, remove=True)
        self._after = 0 if found.done >= last else found.done
        return bool(found.removed)

    def _range(self, after: int, until: int, last: int, *, remove: bool) -> Step:
        step = Step(until, last)
        rows = self._database.read(_FIND, {**self._values, "after": after, "until": until})
        deletable = []
        for storage_id, location, size, possible in rows:
            if possible and remove:
                deletable.append(storage_id)
            elif possible:
                step.removed[location] += 1
                step.removed_bytes[location] += size
            else:
                step.waiting[location] += 1
                step.waiting_bytes[location] += size
        for start in range(0, len(deletable), BATCH):
            self._delete(deletable[start : start + BATCH], step)
        return step

    def _delete(self, ids: list[int], step: Step) -> None:
        with self._database.transaction() as cursor:
            cursor.execute(_LOCK_LOCATIONS)
            cursor.execute(_LOCK_BLOBS, {"ids": ids})
            # A statement of its own, which sees all that was committed before the locks were
            # granted.
            locked = [row[0] for row in cursor.fetchall()]
            cursor.execute(_DELETE, {**self._values, "ids": locked})
            gone = cursor.fetchall()
        for digest, location, size in gone:
            self._cache.forget(digest)
            REMOVED.labels(location).inc()
            step.removed[location] += 1
            step.removed_bytes[location] += size
        if gone:
            log.info("over-replicated copies deleted", extra={"copies": len(gone)})
