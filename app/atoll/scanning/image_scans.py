"""The scan of an image: that of its manifest or, for an index, of each image that it lists."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from atoll.db.pool import Database
from atoll.names import RepositoryName
from atoll.scanning.scan_states import QUEUED, SCANNED, word_of
from atoll.scanning.severities import SeverityCounts

# The manifest that a digest or an active tag names and, if it is an index, the images in it.
_IMAGES = """
WITH root AS (
    SELECT m.id, m.digest FROM manifest m
    JOIN repository r ON r.id = m.repository_id JOIN "user" n ON n.id = r.namespace_user_id
    WHERE n.username = %(namespace)s AND r.name = %(name)s AND m.deleted_at IS NULL
      AND (m.digest = %(reference)s OR EXISTS (
          SELECT FROM tag t WHERE t.manifest_id = m.id AND t.name = %(reference)s
          AND (t.lifetime_end_ms IS NULL OR t.lifetime_end_ms > extract(epoch FROM now()) * 1000)))
), images AS (
    SELECT child.digest FROM root JOIN manifestchild mc ON mc.manifest_id = root.id
    JOIN manifest child ON child.id = mc.child_manifest_id WHERE child.deleted_at IS NULL
), selected AS (
    SELECT digest FROM images
    UNION ALL SELECT digest FROM root WHERE NOT EXISTS (SELECT FROM images)
)
SELECT selected.digest, s.index_status, s.severity_counts, s.last_error
FROM selected LEFT JOIN securityscan s ON s.digest = selected.digest ORDER BY selected.digest
"""


@dataclass(frozen=True)
class ImageScan:
    """The scan of one image.

    Attributes:
        digest: The manifest's digest.
        status: The word of the API.
        counts: The vulnerabilities by severity; None if they are not known.
        reason: Why the last attempt failed, or why the image is not scanned; None if it was.
    """

    digest: str
    status: str
    counts: SeverityCounts | None
    reason: str | None

    @property
    def is_waiting(self) -> bool:
        """Whether the scan has not ended."""
        return self.status == QUEUED

    def as_dict(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        counts: Mapping[str, object] | None = self.counts.as_json() if self.counts else None
        return {
            "digest": self.digest,
            "status": self.status,
            "counts": counts,
            "reason": self.reason,
        }


def image_scans(database: Database, name: RepositoryName, reference: str) -> list[ImageScan]:
    """Return the scans of an image, by digest; none if the repository does not have it.

    Args:
        database: Where they are stored.
        name: The repository.
        reference: A tag or a digest.

    Raises:
        DatabaseUnavailable: The database cannot be reached.
    """
    rows = database.read(
        _IMAGES, {"namespace": name.namespace, "name": name.name, "reference": reference}
    )
    return [_scan(*row) for row in rows]


def _scan(digest: str, state: int | None, counts: object, error: str | None) -> ImageScan:
    status = word_of(state)
    known = SeverityCounts.from_json(counts) if status == SCANNED and counts is not None else None
    return ImageScan(digest, status, known, error)
