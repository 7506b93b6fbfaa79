"""Images that no repository has any more, whose reports the scanner has to delete.

A trigger writes a row when a manifest with a scan is deleted, whatever deletes it. The claim
deletes the rows of digests that another manifest has, and the scans of all others. While a claim is
held, no worker scans the digest if it is pushed again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from atoll.db.leased_queue import Backoff, LeasedQueue, LeasedTable, unleased
from atoll.db.pool import Database
from atoll.db.transient import retry_conflicts
from atoll.scanning.scans import LEASE_SECONDS

_REMOVALS = LeasedTable("securityscanremoval")
_BACKOFF = Backoff(first=10.0, maximum=900.0, jitter=0.25)
# The pause before the next look at an image that is being scanned or pushed.
_BUSY_SECONDS = 60.0

# The rows of a digest are handled one after the other.
_LOCK_REMOVALS = f"""
SELECT r.id, r.digest FROM securityscanremoval r
WHERE r.available_at <= statement_timestamp() AND {unleased("r", "statement_timestamp()")}
  AND NOT EXISTS (SELECT FROM securityscanremoval earlier
                  WHERE earlier.digest = r.digest AND earlier.id < r.id)
ORDER BY r.available_at, r.id LIMIT %(limit)s FOR UPDATE OF r SKIP LOCKED
"""

# A push locks the row before it relates its manifest to it.
_LOCK_SCANS = """
SELECT s.id FROM securityscan s WHERE s.digest = ANY(%(digests)s)
ORDER BY s.id FOR UPDATE SKIP LOCKED
"""

# Its snapshot shows the manifests of all pushes that held the locks before.
_CLAIM = f"""
WITH noted AS (
    SELECT r.id, r.digest, s.id AS scan_id,
           s.id IS NOT NULL AND EXISTS (
               SELECT FROM manifestsecurityscan ms WHERE ms.scan_id = s.id) AS is_needed,
           s.id IS NULL OR s.id = ANY(%(scans)s) AND {unleased("s")} AS is_free
    FROM securityscanremoval r LEFT JOIN securityscan s ON s.digest = r.digest
    WHERE r.id = ANY(%(ids)s)
), kept AS (
    DELETE FROM securityscanremoval r USING noted WHERE r.id = noted.id AND noted.is_needed
), busy AS (
    UPDATE securityscanremoval r
    SET available_at = clock_timestamp() + make_interval(secs => {_BUSY_SECONDS})
    FROM noted WHERE r.id = noted.id AND NOT noted.is_needed AND NOT noted.is_free
), deleted AS (
    DELETE FROM securityscan s USING noted
    WHERE s.id = noted.scan_id AND NOT noted.is_needed AND noted.is_free
), next AS (
    SELECT id FROM noted WHERE NOT is_needed AND is_free
), {_REMOVALS.claimed}
SELECT id, lease_token, attempts, digest FROM claimed ORDER BY id
"""


@dataclass(frozen=True)
class RemovalClaim:
    """A claimed digest whose report the scanner has to delete.

    Attributes:
        id: The row.
        lease_token: The token of the lease.
        attempts: The number of attempts, including this one.
        digest: The manifest's digest.
    """

    id: int
    lease_token: UUID
    attempts: int
    digest: str


class Removals:
    """Claims digests that are gone from all repositories.

    Without SECURITY_SCANNER_V4_MANIFEST_CLEANUP, finish claims without asking the scanner: the
    claim deletes the scans.
    """

    def __init__(self, database: Database, *, lease_seconds: float = LEASE_SECONDS) -> None:
        """Provide the queue.

        Args:
            database: Where it is stored.
            lease_seconds: How long a lease lasts unless it is renewed.
        """
        self._database = database
        self._lease_seconds = lease_seconds
        self._queue = LeasedQueue(
            database, _REMOVALS, lease_seconds=lease_seconds, backoff=_BACKOFF
        )

    def claim(self, number: int) -> list[RemovalClaim]:
        """Claim digests, and delete their scans and stored reports.

        Args:
            number: The most rows to examine. Fewer claims, or none, can result although others
                are due.

        Raises:
            DatabaseUnavailable: The database cannot be reached.
        """
        return retry_conflicts(lambda: self._claim(number))

    def renew(self, claims: Sequence[RemovalClaim]) -> set[UUID]:
        """Extend leases and return the tokens of those that are still held."""
        return self._queue.extend(claims)

    def finish(self, claim: RemovalClaim) -> None:
        """Record that the scanner deleted the report, or had none."""
        self._queue.finish(claim, _REMOVALS.delete)

    def retry(self, claim: RemovalClaim, reason: str) -> None:
        """Release a digest after a failed attempt; the pauses double up to 15 minutes.

        Args:
            claim: The digest.
            reason: The reason, for operators.
        """
        self._queue.release(claim, reason)

    def postpone(self, claims: Sequence[RemovalClaim]) -> None:
        """Release digests for which no scanner could be asked; they can be claimed at once."""
        self._queue.give_back(claims)

    def _claim(self, number: int) -> list[RemovalClaim]:
        with self._database.transaction() as cursor:
            cursor.execute(_LOCK_REMOVALS, {"limit": number})
            rows = cursor.fetchall()
            if not rows:
                return []
            ids, digests = [row[0] for row in rows], [row[1] for row in rows]
            cursor.execute(_LOCK_SCANS, {"digests": digests})
            scans = [row[0] for row in cursor.fetchall()]
            cursor.execute(_CLAIM, {"ids": ids, "scans": scans, "seconds": self._lease_seconds})
            return [RemovalClaim(*row) for row in cursor.fetchall()]
