"""Move old log entries to files in a store (FEATURE_ACTION_LOG_ROTATION), as in Quay.

Entries are deleted in a transaction that commits after their file was written. If it does not
commit, the same entries are written again, to the same file.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from atoll.config import Bundle
from atoll.db.advisory_locks import LOG_ROTATION, try_lock
from atoll.db.pool import Database
from atoll.storage.locations import Locations

_BATCH = 5000
_TRY_LOCK = f"SELECT {try_lock(LOG_ROTATION)}"

# Select a batch of old entries. Ids and times ascend together, within seconds, so only the entries
# with the lowest ids are examined: no further index is needed, and a log without old entries is not
# scanned to its end.
_OLD = """
SELECT id, kind, namespace, repository, performer, ip, metadata, created_at
FROM (SELECT * FROM logentry ORDER BY id LIMIT %(limit)s) AS first
WHERE created_at < now() - make_interval(secs => %(age)s) ORDER BY id
"""


@dataclass(frozen=True)
class LogRotation:
    """Moves old log entries to files.

    Attributes:
        database: The database.
        locations: The stores.
        age_seconds: The age after which entries are moved.
        location: The location of the files; None for the location that blobs are written to.
        directory: The prefix of the files' object keys.
    """

    database: Database
    locations: Locations
    age_seconds: int
    location: str | None
    directory: str

    @classmethod
    def from_bundle(cls, bundle: Bundle, database: Database, locations: Locations) -> LogRotation:
        """Return the rotation that the ACTION_LOG keys of the bundle configure."""
        return cls(
            database,
            locations,
            bundle.action_log_rotation_threshold,
            bundle.action_log_archive_location,
            bundle.action_log_archive_path,
        )

    def rotate(self) -> int:
        """Move all old entries, and return their number.

        Raises:
            StoreError: The store failed; entries that were moved before stay moved.
        """
        moved = 0
        while (count := self._rotate_batch()) > 0:
            moved += count
        return moved

    def _rotate_batch(self) -> int:
        """Move the oldest entries; return 0 if there are none or another process rotates."""
        with self.database.transaction() as cursor:
            cursor.execute(_TRY_LOCK)
            row = cursor.fetchone()
            if row is None or not row[0]:
                return 0
            cursor.execute(_OLD, {"age": self.age_seconds, "limit": _BATCH})
            rows = cursor.fetchall()
            if not rows:
                return 0
            self._write(rows)
            cursor.execute("DELETE FROM logentry WHERE id = ANY(%s)", [[row[0] for row in rows]])
        return len(rows)

    def _write(self, rows: list[Any]) -> None:
        first, last = rows[0], rows[-1]
        day = first[-1].astimezone(UTC).date().isoformat()
        content = gzip.compress(json.dumps([_document(row) for row in rows]).encode(), mtime=0)
        location = self.location or self.locations.selection.to_write()
        key = f"{self.directory}/{day}-{first[0]}-{last[0]}.json.gz"
        self.locations.stores[location].put(key, content, len(content))


def _document(row: Any) -> dict[str, Any]:
    _, kind, namespace, repository, performer, ip, metadata, created_at = row
    return {
        "kind": kind,
        "namespace": namespace,
        "repository": repository,
        "performer": performer,
        "ip": ip,
        "datetime": created_at.astimezone(UTC).isoformat(),
        "metadata": metadata,
    }
