"""Collect manifests without a tag, as Quay does.

A manifest is kept while a tag points to it or can be restored to it (the time machine), while
another manifest of its repository lists it or has it as its subject, for
PUSH_TEMP_TAG_EXPIRATION_SEC after its push, and during a run of its mirror, which may change the
tags at its end. `placement.upkeep.garbage` collects its blobs later.
"""

from __future__ import annotations

import logging

from prometheus_client import Counter

from atoll.config import Bundle
from atoll.db.pool import Database
from atoll.names import Digest, RepositoryName
from atoll.registry.manifest_cache import ManifestCache
from atoll.registry.tags import END_MS, NOW_MS

log = logging.getLogger(__name__)

# Manifests that one statement examines, and that one transaction deletes.
RANGE, BATCH = 20_000, 200

COLLECTED = Counter("atoll_garbage_collected_manifests", "Untagged manifests deleted")

# A condition on manifest `m` in namespace `n`. Deleted manifests are left out: they can be restored
# until their own retention ends.
_UNTAGGED = f"""
m.deleted_at IS NULL
AND m.pushed_at < clock_timestamp() - make_interval(secs => %(keep)s)
AND NOT EXISTS (
    SELECT FROM tag t WHERE t.manifest_id = m.id AND (
        {END_MS} IS NULL
        OR {END_MS} > {NOW_MS} - 1000 * coalesce(n.tag_expiration_s, %(expiration)s)))
AND NOT EXISTS (SELECT FROM manifestchild c WHERE c.child_manifest_id = m.id)
AND NOT EXISTS (SELECT FROM manifest s
                WHERE s.repository_id = m.repository_id AND s.digest = m.subject)
AND NOT EXISTS (SELECT FROM repomirrorconfig mirror
                WHERE mirror.repository_id = m.repository_id AND mirror.run_id IS NOT NULL)
"""

_LAST = "SELECT coalesce(max(id), 0) FROM manifest"

# Lock candidates, so that no new tag or index can refer to them. A row that another transaction has
# locked, as a push does, is skipped.
_LOCK = f"""
SELECT m.id FROM manifest m
JOIN repository r ON r.id = m.repository_id JOIN "user" n ON n.id = r.namespace_user_id
WHERE m.id > %(after)s AND m.id <= %(until)s AND {_UNTAGGED}
ORDER BY m.id LIMIT %(batch)s FOR UPDATE OF m SKIP LOCKED
"""

# Delete candidates. The condition is checked again, because a reference may have been committed
# before the lock was granted.
_COLLECT = f"""
WITH gone AS (
    DELETE FROM manifest m USING repository r, "user" n
    WHERE m.id = ANY(%(ids)s) AND r.id = m.repository_id AND n.id = r.namespace_user_id
      AND {_UNTAGGED}
    RETURNING m.id, n.username, r.name, m.digest
)
SELECT gone.username, gone.name, gone.digest, array(
    SELECT s.content_checksum FROM manifestblob mb JOIN imagestorage s ON s.id = mb.blob_id
    WHERE mb.manifest_id = gone.id)
FROM gone
"""


class UntaggedManifests:
    """Collect untagged manifests, one range of ids at a time.

    Args:
        cache: the cached manifests.
        batch: manifests that one transaction deletes.
    """

    def __init__(
        self,
        database: Database,
        bundle: Bundle,
        cache: ManifestCache,
        *,
        batch: int = BATCH,
    ) -> None:
        self._database = database
        self._cache = cache
        self._batch = batch
        self._after = 0
        self._parameters = {
            "keep": bundle.push_temp_tag_expiration_sec,
            "expiration": bundle.default_tag_expiration,
        }

    def step(self) -> bool:
        """Collect in the next range, and return whether there is more to collect in it.

        Raises:
            DatabaseUnavailable: the current batch was not deleted.
        """
        last = int(self._database.read(_LAST)[0][0])
        until = min(self._after + RANGE, last)
        if self._collect(until) == self._batch:
            return True
        self._after = 0 if until >= last else until
        return False

    def _collect(self, until: int) -> int:
        """Collect up to one batch, and return how many candidates there were."""
        limits = {"after": self._after, "until": until, "batch": self._batch}
        with self._database.transaction() as cursor:
            cursor.execute(_LOCK, {**self._parameters, **limits})
            ids = [row[0] for row in cursor.fetchall()]
            if not ids:
                return 0
            cursor.execute(_COLLECT, {**self._parameters, "ids": ids})
            gone = cursor.fetchall()
        for namespace, name, digest, blobs in gone:
            self._cache.forget(RepositoryName(namespace, name), Digest.parse(digest), blobs)
        COLLECTED.inc(len(gone))
        if gone:
            log.info("untagged manifests collected", extra={"manifests": len(gone)})
        return len(ids)
