"""The last report of each image, which is served while no scanner responds."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from atoll.db.pool import Database

MAXIMUM_AGE_SECONDS = 30 * 86400.0
# Reports that one statement deletes, and the size of an uncompressed report that is kept.
_BATCH = 500
_SIZE_MAXIMUM = 64 * 1024 * 1024
# Reports are text that repeats itself: higher levels take longer and save little.
_LEVEL = 6

_KEEP = """
INSERT INTO manifestsecurityreport (scan_id, report, indexer_state)
SELECT s.id, %(report)s, %(indexer_state)s FROM securityscan s WHERE s.digest = %(digest)s
ON CONFLICT (scan_id) DO UPDATE SET report = EXCLUDED.report, fetched_at = EXCLUDED.fetched_at,
    indexer_state = EXCLUDED.indexer_state
WHERE manifestsecurityreport.indexer_state <> EXCLUDED.indexer_state
   OR manifestsecurityreport.fetched_at
      <= EXCLUDED.fetched_at - make_interval(secs => %(renewed_after)s)
"""

# A report that is too old is not returned, even if it has not been deleted yet.
_FIND = """
SELECT r.report, r.indexer_state, extract(epoch FROM clock_timestamp() - r.fetched_at)::float AS age
FROM securityscan s JOIN manifestsecurityreport r ON r.scan_id = s.id
WHERE s.digest = %(digest)s
  AND r.fetched_at > clock_timestamp() - make_interval(secs => %(maximum_age)s)
"""

_PRUNE = """
DELETE FROM manifestsecurityreport WHERE scan_id IN (
    SELECT scan_id FROM manifestsecurityreport
    WHERE fetched_at <= statement_timestamp() - make_interval(secs => %(maximum_age)s)
    ORDER BY fetched_at LIMIT %(batch)s FOR UPDATE SKIP LOCKED)
RETURNING scan_id
"""


@dataclass(frozen=True)
class StoredReport:
    """A report as the scanner returned it.

    Attributes:
        content: The JSON text.
        indexer_state: The state of the indexer that made it.
        age_seconds: The time since it was fetched.
    """

    content: bytes
    indexer_state: str
    age_seconds: float


class StoredReports:
    """Keeps the last report of each image for 30 days, compressed."""

    def __init__(
        self,
        database: Database,
        *,
        maximum_age: float = MAXIMUM_AGE_SECONDS,
        batch: int = _BATCH,
    ) -> None:
        """Provide the reports.

        Args:
            database: Where they are stored.
            maximum_age: Seconds for which a report is kept.
            batch: Reports that one statement deletes.
        """
        self._database = database
        self._maximum_age = maximum_age
        self._batch = batch

    def keep(
        self, digest: str, content: bytes, indexer_state: str, *, renewed_after: float = 0.0
    ) -> None:
        """Replace the report of an image.

        A report of more than 64 MiB is not kept, and neither is one of an image without a scan,
        such as one that was just deleted.

        Args:
            digest: The manifest's digest.
            content: The JSON text that the scanner returned.
            indexer_state: The state of the indexer that made it.
            renewed_after: Seconds for which a report of the same state is not replaced.

        Raises:
            DatabaseUnavailable: The database cannot be reached.
        """
        if len(content) > _SIZE_MAXIMUM:
            return
        report = zlib.compress(content, _LEVEL)
        values = {
            "digest": digest,
            "report": report,
            "indexer_state": indexer_state,
            "renewed_after": renewed_after,
        }
        self._database.run(_KEEP, values)

    def find(self, digest: str) -> StoredReport | None:
        """Return the last report of an image; None if there is none of the last 30 days.

        Raises:
            DatabaseUnavailable: The database cannot be reached.
        """
        values = {"digest": digest, "maximum_age": self._maximum_age}
        rows = self._database.read(_FIND, values)
        if not rows:
            return None
        report, indexer_state, age = rows[0]
        return StoredReport(zlib.decompress(report), indexer_state, age)

    def prune(self) -> int:
        """Delete reports that are too old, in batches, and return their number.

        Raises:
            DatabaseUnavailable: The batch in progress was rolled back.
        """
        deleted = 0
        while True:
            values = {"maximum_age": self._maximum_age, "batch": self._batch}
            number = len(self._database.run(_PRUNE, values))
            deleted += number
            if number < self._batch:
                return deleted
