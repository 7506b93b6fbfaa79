"""SQL that claims images to scan.

Each statement locks a bounded number of candidates in the order of an index, and only then looks up
whether they can be scanned, so that its cost does not depend on the length of the queue.
"""

from __future__ import annotations

from atoll.db.leased_queue import LeasedTable, unleased
from atoll.placement.placements import HAS_GOOD_COPY

SCANS = LeasedTable("securityscan")
# The seconds for which an image is deferred that has missing blobs, or whose manifests are deleted
# but can be restored.
_DEFERRED_SECONDS, _DELETED_SECONDS = 60.0, 1800.0

# Candidates: due images, pushed ones before existing ones. Each queue is read in order, so that a
# claim reads few rows. The lease is evaluated again when a row is locked.
_DUE = f"""
candidate AS MATERIALIZED (
    SELECT due.* FROM (VALUES (false), (true)) AS queue (is_backfill) CROSS JOIN LATERAL (
        SELECT s.id, s.digest FROM securityscan s
        WHERE s.is_backfill = queue.is_backfill AND s.available_at < 'infinity'
          AND s.available_at <= statement_timestamp() AND {unleased("s", "statement_timestamp()")}
        ORDER BY s.available_at, s.id LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED) AS due
    LIMIT %(limit)s
)"""

# Candidates: images that were indexed with another state of the indexer, the oldest first. The
# earlier states are few and are looked up one after the other in the index.
_OUTDATED = f"""
RECURSIVE state (attempted_hash) AS (
    (SELECT s.attempted_hash FROM securityscan s
     WHERE s.index_status IN (2, -4) AND s.available_at = 'infinity'
     ORDER BY s.attempted_hash LIMIT 1)
    UNION ALL
    SELECT (SELECT s.attempted_hash FROM securityscan s
            WHERE s.index_status IN (2, -4) AND s.available_at = 'infinity'
              AND s.attempted_hash > state.attempted_hash
            ORDER BY s.attempted_hash LIMIT 1)
    FROM state WHERE state.attempted_hash IS NOT NULL
), oldest AS MATERIALIZED (
    SELECT found.id FROM state CROSS JOIN LATERAL (
        SELECT s.id, s.last_indexed FROM securityscan s
        WHERE s.index_status IN (2, -4) AND s.available_at = 'infinity'
          AND s.attempted_hash = state.attempted_hash
          AND s.last_indexed <= statement_timestamp() - make_interval(secs => %(threshold)s)
          AND {unleased("s", "statement_timestamp()")}
        ORDER BY s.last_indexed, s.id LIMIT 4 * %(limit)s) AS found
    WHERE state.attempted_hash <> %(indexer_state)s
    ORDER BY found.last_indexed, found.id LIMIT 4 * %(limit)s
), candidate AS MATERIALIZED (
    SELECT s.id, s.digest FROM securityscan s
    WHERE s.id = ANY(ARRAY(SELECT id FROM oldest))
      AND s.index_status IN (2, -4) AND s.available_at = 'infinity'
      AND s.attempted_hash <> %(indexer_state)s AND {unleased("s")}
    ORDER BY s.last_indexed, s.id LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED
)"""

# Claim the candidates that can be scanned: each of their blobs has a good copy, so that each layer
# has an address, and no deletion of their report is under way. The others are deferred.
_CLAIM = f"""
WITH {{candidates}}, image AS MATERIALIZED (
    SELECT candidate.id, complete.manifest_id, EXISTS (
        SELECT FROM manifestsecurityscan ms JOIN manifest m ON m.id = ms.manifest_id
        WHERE ms.scan_id = candidate.id AND m.deleted_at IS NULL) AS has_manifest
    FROM candidate LEFT JOIN LATERAL (
        SELECT m.id AS manifest_id
        FROM manifestsecurityscan ms JOIN manifest m ON m.id = ms.manifest_id
        WHERE ms.scan_id = candidate.id AND m.deleted_at IS NULL
          AND NOT EXISTS (SELECT FROM manifestblob mb JOIN imagestorage s ON s.id = mb.blob_id
                          WHERE mb.manifest_id = m.id AND NOT {HAS_GOOD_COPY})
          AND NOT EXISTS (SELECT FROM securityscanremoval r WHERE r.digest = candidate.digest
                          AND r.lease_expires > statement_timestamp())
        LIMIT 1) AS complete ON true
), next AS (
    SELECT id FROM image WHERE manifest_id IS NOT NULL
), {SCANS.claimed}, deferred AS (
    UPDATE securityscan s SET available_at = statement_timestamp() + make_interval(
        secs => CASE WHEN image.has_manifest THEN {_DEFERRED_SECONDS} ELSE {_DELETED_SECONDS} END)
    FROM image WHERE s.id = image.id AND image.manifest_id IS NULL
    RETURNING s.id
)
SELECT claimed.id, claimed.lease_token, claimed.attempts, claimed.digest, claimed.index_status,
       claimed.failures, m.media_type, m.manifest_bytes, m.repository_id, n.username, r.name
FROM image LEFT JOIN claimed ON claimed.id = image.id
LEFT JOIN manifest m ON m.id = image.manifest_id LEFT JOIN repository r ON r.id = m.repository_id
LEFT JOIN "user" n ON n.id = r.namespace_user_id
"""
CLAIM_DUE = _CLAIM.format(candidates=_DUE)
CLAIM_OUTDATED = _CLAIM.format(candidates=_OUTDATED)
