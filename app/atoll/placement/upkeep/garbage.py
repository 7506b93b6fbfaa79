"""Garbage collection: manifests that cannot be restored any more, and unused blobs.

A blob is collected in steps, each of which is atomic: a tombstone; after a grace period the
deletion of its placements, in the transaction that queues the deletion of each object; the
objects, for each location separately, and only when a fail-over that loses that transaction has
become unlikely; the row. A push, a mount or a manifest removes the tombstone until the placements
are deleted.

The advisory lock on the digest excludes both from each other: a transaction that refers to a blob
holds it shared. The collector holds it exclusively and checks again that the blob is unused.
"""

from __future__ import annotations

import logging

from prometheus_client import Counter

from atoll.config import Bundle
from atoll.db.pool import Database
from atoll.placement.locks import try_lock_digest
from atoll.placement.placement_cache import PlacementCache
from atoll.placement.tasks import LEASE_SECONDS

log = logging.getLogger(__name__)

# Blobs that one statement examines for a tombstone. Manifests, rights to blobs, and blobs with a
# tombstone that one transaction deletes.
RANGE, BATCH = 20_000, 200

COLLECTED = Counter("atoll_garbage_collected_blobs", "Unreferenced blobs collected")
COLLECTED_BYTES = Counter(
    "atoll_garbage_collected_bytes", "Bytes of collected blobs, each counted once"
)


def _unneeded(within: str = "true") -> str:
    """Return the condition that blob `s` is unused.

    Deleted manifests use their blobs as long as they can be restored, and an upload uses the blob
    that is its first chunk.

    Args:
        within: a condition on `blob_id` that bounds the rows to examine.
    """
    return f"""(
    NOT EXISTS (SELECT FROM manifestblob mb WHERE mb.blob_id = s.id AND {within})
    AND NOT EXISTS (SELECT FROM uploadedblob ub WHERE ub.blob_id = s.id AND {within}
                    AND ub.expires_at > clock_timestamp())
    AND NOT EXISTS (SELECT FROM blobupload u
                    WHERE u.first_digest = s.content_checksum AND NOT u.ended))"""


_UNNEEDED = _unneeded()

# Locked rows are evaluated again, so a manifest that was just restored is kept. The shortest time
# of all namespaces bounds the rows of the index that are read; clock_timestamp() would not, because
# PostgreSQL evaluates a volatile function for each row.
_LOCK_MANIFESTS = """
SELECT m.id FROM manifest m JOIN repository r ON r.id = m.repository_id
JOIN "user" n ON n.id = r.namespace_user_id
WHERE m.deleted_at < statement_timestamp() - make_interval(
        secs => least(%(expiration)s, (SELECT min(tag_expiration_s) FROM "user")))
  AND m.deleted_at < statement_timestamp()
      - make_interval(secs => coalesce(n.tag_expiration_s, %(expiration)s))
ORDER BY m.deleted_at LIMIT %(batch)s FOR UPDATE OF m SKIP LOCKED
"""

# Lock the indexes that list the manifests. One that is being deleted is not waited for, because
# that deletion may wait for the manifests.
_LOCK_INDEXES = """
SELECT m.id FROM manifest m
WHERE m.id IN (SELECT c.manifest_id FROM manifestchild c WHERE c.child_manifest_id = ANY(%(ids)s))
ORDER BY m.id FOR KEY SHARE SKIP LOCKED
"""

# Delete the manifests all of whose indexes are locked, and record in these that they are absent.
_DELETE_MANIFESTS = """
WITH gone AS (
    DELETE FROM manifest m WHERE m.id = ANY(%(ids)s) AND NOT EXISTS (
        SELECT FROM manifestchild c
        WHERE c.child_manifest_id = m.id AND c.manifest_id <> ALL(%(indexes)s))
    RETURNING m.id, m.repository_id, m.digest, m.media_type, octet_length(m.manifest_bytes) AS size
), absent AS (
    INSERT INTO manifestabsent (manifest_id, digest, kind, repository_id, size, media_type)
    SELECT c.manifest_id, gone.digest, 'manifest', gone.repository_id, gone.size, gone.media_type
    FROM gone JOIN manifestchild c ON c.child_manifest_id = gone.id
    WHERE c.manifest_id NOT IN (SELECT id FROM gone)
    ON CONFLICT DO NOTHING
)
SELECT id FROM gone
"""

# Locked rows are evaluated again, so a right that was just extended is kept.
_DELETE_RIGHTS = """
DELETE FROM uploadedblob WHERE (repository_id, blob_id) IN (
    SELECT repository_id, blob_id FROM uploadedblob
    WHERE expires_at <= statement_timestamp() - make_interval(secs => %(grace)s)
    ORDER BY expires_at LIMIT %(batch)s FOR UPDATE SKIP LOCKED)
RETURNING blob_id
"""

_LAST = "SELECT coalesce(max(id), 0) FROM imagestorage"

# The range is repeated in the condition, because the statement would read whole tables otherwise. A
# collected blob whose row outlived its object deletions, as when a location was removed, is
# collected again.
_MARK = f"""
UPDATE imagestorage s SET tombstone_at = clock_timestamp()
WHERE s.id > %(after)s AND s.id <= %(until)s
  AND (s.tombstone_at IS NULL OR s.tombstone_at = 'infinity'
       AND NOT EXISTS (SELECT FROM objectdeletion d WHERE d.storage_id = s.id))
  AND {_unneeded("blob_id > %(after)s AND blob_id <= %(until)s")}
RETURNING s.id
"""

# A blob whose lock is held is about to be used and is examined in the next round, as is a blob that
# is being copied. A blob whose object deletions are queued has the tombstone `infinity`, so that
# rounds do not read it. The planner can estimate now(), unlike clock_timestamp(): it expects few
# rows and uses indexes.
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

_REMOVE_TOMBSTONES = f"""
UPDATE imagestorage s SET tombstone_at = NULL WHERE s.id = ANY(%(ids)s) AND NOT {_UNNEEDED}
"""

# A fail-over that loses this transaction restores the placements, so their objects are kept for a
# while. An interrupted copy may still write its object until its worker notices the lost lease.
_DELETE_PLACEMENTS = f"""
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

# Deletes the rows of the blobs %(ids)s that have no copies left. Requires the exclusive locks on
# their digests.
DELETE_BLOBS = f"""
DELETE FROM imagestorage s
WHERE s.id = ANY(%(ids)s) AND s.tombstone_at IS NOT NULL AND {_UNNEEDED}
  AND NOT EXISTS (SELECT FROM uploadedblob ub WHERE ub.blob_id = s.id)
  AND NOT EXISTS (SELECT FROM imagestorageplacement p WHERE p.storage_id = s.id)
  AND NOT EXISTS (SELECT FROM replicationtask t WHERE t.storage_id = s.id)
  AND NOT EXISTS (SELECT FROM objectdeletion d WHERE d.storage_id = s.id)
"""


class Collector:
    """Collects garbage in batches."""

    def __init__(
        self,
        database: Database,
        bundle: Bundle,
        cache: PlacementCache,
        *,
        batch: int = BATCH,
    ) -> None:
        self._database = database
        self._expiration = bundle.default_tag_expiration
        self._grace = bundle.garbage_collection_grace
        self._window = bundle.garbage_collection_failover_window
        self._cache = cache
        self._batch = batch
        self._after = 0

    def step(self) -> None:
        """Run one round.

        Raises:
            DatabaseUnavailable: the batch in progress was rolled back.
        """
        while self.delete_manifests() == self._batch:
            continue
        while self.delete_rights() == self._batch:
            continue
        self.mark()
        while self.collect_blobs():
            continue

    def delete_manifests(self) -> int:
        """Delete a batch of manifests that cannot be restored any more, and return their number.

        Indexes that list one of them keep a record of it, which a push replaces.
        """
        parameters = {"expiration": self._expiration, "batch": self._batch}
        with self._database.transaction() as cursor:
            cursor.execute(_LOCK_MANIFESTS, parameters)
            ids = [row[0] for row in cursor.fetchall()]
            if not ids:
                return 0
            cursor.execute(_LOCK_INDEXES, {"ids": ids})
            indexes = [row[0] for row in cursor.fetchall()]
            cursor.execute(_DELETE_MANIFESTS, {"ids": ids, "indexes": indexes})
            return len(cursor.fetchall())

    def delete_rights(self) -> int:
        """Delete a batch of rights that expired a grace period ago, and return their number."""
        parameters = {"grace": self._grace, "batch": self._batch}
        return len(self._database.run(_DELETE_RIGHTS, parameters))

    def mark(self) -> int:
        """Put tombstones on the unused blobs of the next range, and return their number."""
        last = int(self._database.read(_LAST)[0][0])
        until = min(self._after + RANGE, last)
        marked = self._database.run(_MARK, {"after": self._after, "until": until})
        self._after = 0 if until >= last else until
        return len(marked)

    def collect_blobs(self) -> int:
        """Delete the placements of blobs after their grace period, and queue their objects.

        Returns:
            The number of collected blobs.
        """
        with self._database.transaction() as cursor:
            cursor.execute(_LOCK, {"grace": self._grace, "batch": self._batch})
            ids = [row[0] for row in cursor.fetchall()]
            if not ids:
                return 0
            # Each statement has a new snapshot, so these see all that was committed before the
            # locks were granted.
            parameters = {"ids": ids, "lease": 2 * LEASE_SECONDS, "window": self._window}
            cursor.execute(_REMOVE_TOMBSTONES, parameters)
            cursor.execute(_DELETE_PLACEMENTS, parameters)
            gone = cursor.fetchall()
            cursor.execute(DELETE_BLOBS, parameters)
        for digest, size in gone:
            self._cache.forget(digest)
            COLLECTED.inc()
            COLLECTED_BYTES.inc(size)
        if gone:
            log.info("blobs collected", extra={"blobs": len(gone)})
        return len(gone)
