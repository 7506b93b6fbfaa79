"""Requests scans of manifests that were pushed before the feature was turned on.

Ranges of ids are examined from the last manifest to the first, so that recent images are scanned
first. The position is stored: all processes share it, and a restart continues from it. When the
first manifest has been reached, the backfill is complete; manifests that were pushed meanwhile by
processes without the feature are found by `restart`.
"""

from __future__ import annotations

from dataclasses import dataclass

from atoll.db.pool import Database
from atoll.db.transient import retry_conflicts, run_with_retries

# Manifests that one transaction examines.
BATCH = 1_000

_START = """
INSERT INTO securitybackfill (remaining, total)
SELECT last, last FROM (SELECT coalesce(max(id), 0) AS last FROM manifest) AS manifests
ON CONFLICT (only_one) DO """
_RESTART = f"""{_START} UPDATE SET remaining = EXCLUDED.remaining, total = EXCLUDED.total,
    changed_at = clock_timestamp()
"""

# The lock serializes processes.
_LOCK_POSITION = f"""{_START} NOTHING;
SELECT remaining, total FROM securitybackfill FOR UPDATE
"""

# The next manifests in the order of their ids, which may have gaps. Deleted manifests are included,
# because they can be restored. The lock keeps them until they are related to their scans.
_LOCK_RANGE = """
SELECT m.id FROM manifest m WHERE m.id <= %(remaining)s
ORDER BY m.id DESC LIMIT %(batch)s FOR KEY SHARE
"""

# Existing scans are locked, so that no removal deletes them before the commit.
_REQUEST = """
INSERT INTO securityscan (digest, is_backfill)
SELECT DISTINCT m.digest, true FROM manifest m
WHERE m.id = ANY(%(ids)s)
  AND NOT EXISTS (SELECT FROM manifestsecurityscan ms WHERE ms.manifest_id = m.id)
ORDER BY m.digest
ON CONFLICT (digest) DO UPDATE SET digest = EXCLUDED.digest WHERE false
"""

_RELATE = """
INSERT INTO manifestsecurityscan (manifest_id, scan_id)
SELECT m.id, s.id FROM manifest m JOIN securityscan s ON s.digest = m.digest
WHERE m.id = ANY(%(ids)s)
  AND NOT EXISTS (SELECT FROM manifestsecurityscan ms WHERE ms.manifest_id = m.id)
ON CONFLICT (manifest_id) DO NOTHING
RETURNING manifest_id
"""

_ADVANCE = """
UPDATE securitybackfill SET remaining = %(remaining)s, changed_at = clock_timestamp()
"""

_STATUS = "SELECT remaining, total FROM securitybackfill"


@dataclass(frozen=True)
class BackfillStatus:
    """The progress of the backfill.

    Attributes:
        remaining: The greatest id of a manifest that has not been examined; 0 at the end.
        total: The greatest id when the backfill began.
        requested: The manifests that got a scan with the last range.
    """

    remaining: int
    total: int
    requested: int = 0

    @property
    def share(self) -> float:
        """The share of manifests that were examined, from 0 to 1."""
        return 1.0 if self.complete or not self.total else 1.0 - self.remaining / self.total

    @property
    def complete(self) -> bool:
        """Whether every manifest was examined."""
        return self.remaining <= 0


class ScanBackfill:
    """Requests scans of existing manifests, one range at a time."""

    def __init__(self, database: Database, *, batch: int = BATCH) -> None:
        """Provide the backfill.

        Args:
            database: Where the manifests are.
            batch: Manifests that one transaction examines.
        """
        self._database = database
        self._batch = batch

    def step(self) -> BackfillStatus:
        """Examine the next range; a complete backfill costs one query.

        Raises:
            DatabaseUnavailable: The scans of earlier ranges remain requested.
        """
        status = self.status()
        if status is not None and status.complete:
            return status
        return retry_conflicts(self._step)

    def restart(self) -> None:
        """Examine all manifests again; those with a scan are left alone."""
        run_with_retries(self._database, _RESTART)

    def status(self) -> BackfillStatus | None:
        """Return the progress; None before the first step."""
        rows = self._database.read(_STATUS)
        return BackfillStatus(*rows[0]) if rows else None

    def _step(self) -> BackfillStatus:
        with self._database.transaction() as cursor:
            cursor.execute(_LOCK_POSITION)
            ((remaining, total),) = cursor.fetchall()
            cursor.execute(_LOCK_RANGE, {"remaining": remaining, "batch": self._batch})
            ids = [row[0] for row in cursor.fetchall()]
            requested = 0
            if ids:
                cursor.execute(_REQUEST, {"ids": ids})
                cursor.execute(_RELATE, {"ids": ids})
                requested = cursor.rowcount
            remaining = ids[-1] - 1 if len(ids) == self._batch else 0
            cursor.execute(_ADVANCE, {"remaining": remaining})
        return BackfillStatus(remaining, total, requested)
