"""Collect what nobody needs: manifests that cannot be brought back, and blobs that nothing names.

A blob goes in steps, none of which a crash can leave half done: a tombstone; after a grace time its
placements, in the transaction that queues the deletion of each object; the objects, each location
at its own pace, and not before a fail-over that loses that transaction becomes unlikely; the row. A
push, a mount or a manifest brings it back until its placements go.

They exclude each other by the advisory lock on the digest: whoever counts on a blob holds it
shared, the collector alone, and looks again under it whether nobody needs the blob.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from prometheus_client import Counter

from atoll.config import Bundle
from atoll.db.pool import Database
from atoll.placement.locks import try_lock_digest
from atoll.placement.tasks import LEASE_SECONDS

log = logging.getLogger(__name__)

# Blobs that one statement looks at for whether anybody needs them; manifests, rights to blobs, and
# blobs with a tombstone, that one transaction takes.
RANGE, BATCH = 20_000, 200

COLLECTED = Counter("atoll_garbage_collected_blobs", "Unreferenced blobs collected")
COLLECTED_BYTES = Counter(
    "atoll_garbage_collected_bytes", "Bytes of collected blobs, each counted once"
)


def _unneeded(within: str = "true") -> str:
    """Return the condition that nothing needs blob `s`.

    A manifest that is deleted needs its blobs as long as it can be brought back; so does an upload
    whose first chunk is the blob. WITHIN limits what is looked at to the `blob_id` that can be.
    """
    return f"""(
    NOT EXISTS (SELECT FROM manifestblob mb WHERE mb.blob_id = s.id AND {within})
    AND NOT EXISTS (SELECT FROM uploadedblob ub WHERE ub.blob_id = s.id AND {within}
                    AND ub.expires_at > clock_timestamp())
    AND NOT EXISTS (SELECT FROM blobupload u
                    WHERE u.first_digest = s.content_checksum AND NOT u.ended))"""


_UNNEEDED = _unneeded()

# The rows that are locked are looked at again, so one that was just brought back stays.
_FORGET_MANIFESTS = """
DELETE FROM manifest WHERE id IN (
    SELECT m.id FROM manifest m JOIN repository r ON r.id = m.repository_id
    JOIN "user" n ON n.id = r.namespace_user_id
    WHERE m.deleted_at < clock_timestamp()
          - make_interval(secs => coalesce(n.tag_expiration_s, %(expiration)s))
    ORDER BY m.deleted_at LIMIT %(batch)s FOR UPDATE OF m SKIP LOCKED)
RETURNING id
"""

# Rights that ended and were extended meanwhile are looked at again, too.
_FORGET_RIGHTS = """
DELETE FROM uploadedblob WHERE (repository_id, blob_id) IN (
    SELECT repository_id, blob_id FROM uploadedblob
    WHERE expires_at <= clock_timestamp() - make_interval(secs => %(grace)s)
    ORDER BY expires_at LIMIT %(batch)s FOR UPDATE SKIP LOCKED)
RETURNING blob_id
"""

_LAST = "SELECT coalesce(max(id), 0) FROM imagestorage"

# The range is repeated inside, or each statement would read whole tables. A collected blob whose
# row outlived its object deletions, as when a location was removed, is collected again.
_MARK = f"""
UPDATE imagestorage s SET tombstone_at = clock_timestamp()
WHERE s.id > %(after)s AND s.id <= %(until)s
  AND (s.tombstone_at IS NULL OR s.tombstone_at = 'infinity'
       AND NOT EXISTS (SELECT FROM objectdeletion d WHERE d.storage_id = s.id))
  AND {_unneeded("blob_id > %(after)s AND blob_id <= %(until)s")}
RETURNING s.id
"""

# A blob whose lock is held is about to be needed; the next round examines it again. One that is
# being copied waits; one whose object deletions are queued has the tombstone `infinity`, so that
# however many these are, a round does not read them. now(), unlike clock_timestamp(), is known to
# the planner, which then expects few rows and uses indexes.
_LOCK = f"""
SELECT id FROM (
    SELECT s.id, s.content_checksum FROM imagestorage s
    WHERE s.tombstone_at <= now() - make_interval(secs => %(grace)s)
      AND NOT EXISTS (SELECT FROM objectdeletion d WHERE d.storage_id = s.id)
      AND NOT EXISTS (SELECT FROM replicationtask t
                      WHERE t.storage_id = s.id AND t.lease_expires > clock_timestamp())
    ORDER BY s.tombstone_at LIMIT %(batch)s) AS marked
WHERE {try_lock_digest("content_checksum")}
"""

_BRING_BACK = f"""
UPDATE imagestorage s SET tombstone_at = NULL WHERE s.id = ANY(%(ids)s) AND NOT {_UNNEEDED}
"""

# A fail-over that loses this transaction brings the placements back, so their objects stay for a
# while. Where a copy was under way an object may appear until its worker knows that it lost its
# lease.
_BURY = f"""
WITH gone AS (
    SELECT s.id, s.content_checksum, s.image_size FROM imagestorage s
    WHERE s.id = ANY(%(ids)s) AND s.tombstone_at IS NOT NULL AND {_UNNEEDED}
      AND NOT EXISTS (SELECT FROM replicationtask t
                      WHERE t.storage_id = s.id AND t.lease_expires > clock_timestamp())
), collected AS (
    UPDATE imagestorage s SET tombstone_at = 'infinity' FROM gone WHERE s.id = gone.id
), rights AS (
    DELETE FROM uploadedblob ub USING gone WHERE ub.blob_id = gone.id
), copies AS (
    DELETE FROM replicationtask t USING gone WHERE t.storage_id = gone.id
    RETURNING t.storage_id, t.location_id, %(lease)s AS wait
), placed AS (
    DELETE FROM imagestorageplacement p USING gone WHERE p.storage_id = gone.id
    RETURNING p.storage_id, p.location_id, %(window)s AS wait
), queued AS (
    INSERT INTO objectdeletion (storage_id, location_id, available_at)
    SELECT storage_id, location_id, clock_timestamp() + make_interval(secs => max(wait))
    FROM (SELECT * FROM copies UNION ALL SELECT * FROM placed) AS anywhere
    GROUP BY storage_id, location_id
    ON CONFLICT (storage_id, location_id) DO NOTHING
)
SELECT content_checksum, image_size FROM gone
"""

# The row of a blob that is nowhere any more, for whoever holds its lock alone. Takes %(ids)s.
FORGET_BLOBS = f"""
DELETE FROM imagestorage s
WHERE s.id = ANY(%(ids)s) AND s.tombstone_at IS NOT NULL AND {_UNNEEDED}
  AND NOT EXISTS (SELECT FROM uploadedblob ub WHERE ub.blob_id = s.id)
  AND NOT EXISTS (SELECT FROM imagestorageplacement p WHERE p.storage_id = s.id)
  AND NOT EXISTS (SELECT FROM replicationtask t WHERE t.storage_id = s.id)
  AND NOT EXISTS (SELECT FROM objectdeletion d WHERE d.storage_id = s.id)
"""


class Collector:
    """Collects a part at a time. FORGET_CACHED is told the digest of each blob whose time is up."""

    def __init__(
        self,
        database: Database,
        bundle: Bundle,
        forget_cached: Callable[[str], None],
        *,
        batch: int = BATCH,
    ) -> None:
        self._database = database
        self._expiration = bundle.default_tag_expiration
        self._grace = bundle.garbage_collection_grace
        self._window = bundle.garbage_collection_failover_window
        self._forget_cached = forget_cached
        self._batch = batch
        self._after = 0

    def step(self) -> None:
        """Run one round. Raises DatabaseUnavailable; nothing is half done then."""
        while self.forget_manifests() == self._batch:
            continue
        while self.forget_rights() == self._batch:
            continue
        self.mark()
        while self.bury():
            continue

    def forget_manifests(self) -> int:
        """Delete a batch of manifests that cannot be restored any more; return how many."""
        parameters = {"expiration": self._expiration, "batch": self._batch}
        return len(self._database.run(_FORGET_MANIFESTS, parameters))

    def forget_rights(self) -> int:
        """Delete a batch of rights to blobs that ended a grace time ago; return how many."""
        parameters = {"grace": self._grace, "batch": self._batch}
        return len(self._database.run(_FORGET_RIGHTS, parameters))

    def mark(self) -> int:
        """Put a tombstone on what nobody needs, in the next range of blobs; return how many."""
        last = int(self._database.read(_LAST)[0][0])
        until = min(self._after + RANGE, last)
        marked = self._database.run(_MARK, {"after": self._after, "until": until})
        self._after = 0 if until >= last else until
        return len(marked)

    def bury(self) -> int:
        """Delete the placements of blobs whose grace time is over, and queue their objects.

        Returns:
            The number of these blobs.
        """
        with self._database.transaction() as cursor:
            cursor.execute(_LOCK, {"grace": self._grace, "batch": self._batch})
            ids = [row[0] for row in cursor.fetchall()]
            if not ids:
                return 0
            # Each statement sees what was committed before it, so these see what came before the
            # locks.
            parameters = {"ids": ids, "lease": 2 * LEASE_SECONDS, "window": self._window}
            cursor.execute(_BRING_BACK, parameters)
            cursor.execute(_BURY, parameters)
            gone = cursor.fetchall()
            cursor.execute(FORGET_BLOBS, parameters)
        for digest, size in gone:
            self._forget_cached(digest)
            COLLECTED.inc()
            COLLECTED_BYTES.inc(size)
        if gone:
            log.info("blobs collected", extra={"blobs": len(gone)})
        return len(gone)
