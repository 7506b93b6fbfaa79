"""Report at which locations an image is complete.

An image is complete where its layers and its configuration are, and those of every manifest that it
lists and that its repository has. Other manifests that it lists are absent, not missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from atoll.db.pool import Database
from atoll.placement.rules import required_in

# Count the image's blobs at each location.
_COMPLETENESS = f"""
WITH RECURSIVE image AS (
    SELECT m.id, m.repository_id, m.digest FROM manifest m WHERE m.id = %(manifest_id)s
), named AS (
    SELECT id FROM image
    UNION SELECT c.child_manifest_id FROM named JOIN manifestchild c ON c.manifest_id = named.id
), blobs AS (
    SELECT s.id, s.image_size FROM imagestorage s
    WHERE s.id IN (SELECT mb.blob_id FROM named JOIN manifestblob mb ON mb.manifest_id = named.id)
), absent AS (
    SELECT a.digest FROM named JOIN manifestabsent a ON a.manifest_id = named.id
    UNION SELECT m.digest FROM named JOIN manifest m ON m.id = named.id
    WHERE m.deleted_at IS NOT NULL
)
SELECT image.digest, (SELECT count(*) FROM absent), l.name, l.state,
       {required_in("image.repository_id", "l")},
       (SELECT count(*) FROM blobs), there.blobs,
       (SELECT coalesce(sum(image_size), 0) FROM blobs)::bigint - there.bytes
FROM image CROSS JOIN imagestoragelocation l CROSS JOIN LATERAL (
    SELECT count(*) AS blobs, coalesce(sum(blobs.image_size), 0)::bigint AS bytes
    FROM blobs JOIN imagestorageplacement p
      ON p.storage_id = blobs.id AND p.location_id = l.id AND p.state = 'good') there
WHERE l.state <> 'removed'
ORDER BY l.name
"""


@dataclass(frozen=True)
class LocationCompleteness:
    """The copies of an image's blobs at one location.

    Attributes:
        required: whether the image must be there.
        blobs: all blobs of the image, each counted once.
        missing_blobs: those without a good copy there, with `missing_bytes` in total.
    """

    location: str
    state: str
    required: bool
    blobs: int
    missing_blobs: int
    missing_bytes: int

    @property
    def complete(self) -> bool:
        """Whether every blob is there."""
        return not self.missing_blobs


@dataclass(frozen=True)
class Completeness:
    """The completeness of an image, by its manifest's digest, at each location.

    Attributes:
        absent_manifests: the number of manifests that it lists and that cannot be pulled: they were
            not pushed, or deleted. No location needs them to be complete.
    """

    digest: str
    absent_manifests: int
    locations: list[LocationCompleteness]

    @property
    def complete(self) -> bool:
        """Whether it is complete at each required location, and at one location at least."""
        return any(one.complete for one in self.locations) and all(
            one.complete for one in self.locations if one.required
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the response of the API, which the command line prints as JSON, too."""
        return {
            "manifest_digest": self.digest,
            "complete": self.complete,
            "absent_manifests": self.absent_manifests,
            "locations": [{**vars(one), "complete": one.complete} for one in self.locations],
        }


class CompletenessQuery:
    """Query the completeness of images.

    Args:
        required: the default locations.
    """

    def __init__(self, database: Database, required: list[str]) -> None:
        self._database = database
        self._required = required

    def of_manifest(self, manifest_id: int) -> Completeness | None:
        """Return the completeness of an image; None if there is no such manifest."""
        rows = self._database.read(
            _COMPLETENESS, {"manifest_id": manifest_id, "required": self._required}
        )
        if not rows:
            return None
        return Completeness(
            rows[0][0],
            rows[0][1],
            [
                LocationCompleteness(location, state, is_required, blobs, blobs - there, missing)
                for _, _, location, state, is_required, blobs, there, missing in rows
            ],
        )
