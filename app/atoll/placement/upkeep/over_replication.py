"""Take away copies that are where policies let nobody have them.

A copy is in excess where every repository that uses the blob excludes its location. It goes only
when each location that must have the blob has a good copy, and one that stays does; until then it
waits. Its placement goes in the transaction that queues the deletion of its object.

A push, a mount or a manifest that uses a blob holds the lock on its digest. It is taken here, and
the blob is read again under it. The locations' rows are locked, too: until the copies are deleted,
no location that must keep one can become draining. One that is draining counts for nothing, so a
removal, which needs a draining location, and the deletions here never rely on each other.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import prometheus_client

from atoll.db.pool import Database
from atoll.placement.locks import try_lock_digest
from atoll.placement.rules import allowed_of, required_of, used
from atoll.storage.base import LINK_SECONDS
from atoll.storage.states import KEPT

log = logging.getLogger(__name__)

# Blobs that one statement looks at, and copies that one transaction takes.
RANGE, BATCH = 20_000, 200

REMOVED = prometheus_client.Counter(
    "atoll_excess_removed", "Over-replicated copies deleted from excluded locations", ["location"]
)

_EXCLUDED_ANYWHERE = "SELECT EXISTS (SELECT FROM replicationpolicy WHERE excluded <> '{}')"

_LAST = "SELECT coalesce(max(id), 0) FROM imagestorage"

# Conditions on placement `p` at location `l`. What is being written there now waits.
_IN_EXCESS = f"""
    l.state <> 'removed'
    AND EXISTS (SELECT FROM replicationpolicy x WHERE l.name = ANY(x.excluded))
    AND {used("p.storage_id")} AND NOT {allowed_of("p.storage_id", "l")}"""

_CAN_GO = f"""
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

_LOOK = f"""
SELECT p.storage_id, l.name, s.image_size, {_CAN_GO}
FROM imagestorageplacement p JOIN imagestoragelocation l ON l.id = p.location_id
JOIN imagestorage s ON s.id = p.storage_id
WHERE p.storage_id > %(after)s AND p.storage_id <= %(until)s AND {_IN_EXCESS}
ORDER BY p.storage_id, l.name
"""

# Waits for the end of a state change, not for the proof of a removal.
_LOCK_STATES = "SELECT id FROM imagestoragelocation ORDER BY id FOR SHARE"

# Whoever holds a blob's lock now is about to count on it; the next round looks again.
_LOCK_BLOBS = f"""
SELECT id FROM (SELECT id, content_checksum FROM imagestorage WHERE id = ANY(%(ids)s)
                ORDER BY id) AS found
WHERE {try_lock_digest("content_checksum")}
"""

_TAKE = f"""
WITH gone AS (
    DELETE FROM imagestorageplacement p USING imagestoragelocation l
    WHERE l.id = p.location_id AND p.storage_id = ANY(%(ids)s) AND {_IN_EXCESS} AND {_CAN_GO}
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
    """What was found among the blobs up to the id DONE; LAST is the greatest id.

    Copies and their bytes by location: those that are (or could be) taken away, and those that wait
    for a copy somewhere else.
    """

    done: int
    last: int
    removed: Counter[str] = field(default_factory=Counter)
    removed_bytes: Counter[str] = field(default_factory=Counter)
    waiting: Counter[str] = field(default_factory=Counter)
    waiting_bytes: Counter[str] = field(default_factory=Counter)


class Excess:
    """Finds and takes away what is in excess. REQUIRED are the default locations.

    FORGET_CACHED is told the digest of each blob of which a copy went. Objects stay for LINKS
    seconds after that, for clients that were sent to them.
    """

    def __init__(
        self,
        database: Database,
        required: list[str],
        forget_cached: Callable[[str], None],
        *,
        links: float = LINK_SECONDS,
    ) -> None:
        self._database = database
        self._values = {"required": required, "kept": list(KEPT), "links": links}
        self._forget_cached = forget_cached
        self._after = 0

    def everything(self, *, remove: bool) -> Iterator[Step]:
        """Go through all blobs, and yield what was found in each range of them.

        Only look unless REMOVE. Raises DatabaseUnavailable; nothing is half done then.
        """
        if not self._database.read(_EXCLUDED_ANYWHERE)[0][0]:
            return
        last = int(self._database.read(_LAST)[0][0])
        for after in range(0, last, RANGE):
            yield self._range(after, min(after + RANGE, last), last, remove=remove)

    def step(self) -> bool:
        """Take away what can go in the next range of blobs; tell whether anything did."""
        if not self._database.read(_EXCLUDED_ANYWHERE)[0][0]:
            return False
        last = int(self._database.read(_LAST)[0][0])
        found = self._range(self._after, min(self._after + RANGE, last), last, remove=True)
        self._after = 0 if found.done >= last else found.done
        return bool(found.removed)

    def _range(self, after: int, until: int, last: int, *, remove: bool) -> Step:
        step = Step(until, last)
        rows = self._database.read(_LOOK, {**self._values, "after": after, "until": until})
        can_go = []
        for storage_id, location, size, possible in rows:
            if possible and remove:
                can_go.append(storage_id)
            elif possible:
                step.removed[location] += 1
                step.removed_bytes[location] += size
            else:
                step.waiting[location] += 1
                step.waiting_bytes[location] += size
        for start in range(0, len(can_go), BATCH):
            self._take(can_go[start : start + BATCH], step)
        return step

    def _take(self, ids: list[int], step: Step) -> None:
        with self._database.transaction() as cursor:
            cursor.execute(_LOCK_STATES)
            cursor.execute(_LOCK_BLOBS, {"ids": ids})
            # A statement of its own: it sees what was committed before the locks were there.
            locked = [row[0] for row in cursor.fetchall()]
            cursor.execute(_TAKE, {**self._values, "ids": locked})
            gone = cursor.fetchall()
        for digest, location, size in gone:
            self._forget_cached(digest)
            REMOVED.labels(location).inc()
            step.removed[location] += 1
            step.removed_bytes[location] += size
        if gone:
            log.info("copies in excess taken away", extra={"copies": len(gone)})
