"""Report at which locations an image is complete.

An image is complete where its layers and its configuration are, and those of every manifest that it
lists and that its repository has. Other manifests that it lists are absent, not missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from atoll.db.pool import Database
from atoll.placement.rules import required_in

# Count the blobs of each image at each location. Images with the same manifest are counted once.
_COMPLETENESS = f"""
WITH RECURSIVE image (name, id) AS ({{images}}),
named AS (
    SELECT DISTINCT id AS image_id, id FROM image
    UNION SELECT named.image_id, c.child_manifest_id
    FROM named JOIN manifestchild c ON c.manifest_id = named.id
), blobs AS (
    SELECT DISTINCT named.image_id, s.id, s.image_size
    FROM named JOIN manifestblob mb ON mb.manifest_id = named.id
    JOIN imagestorage s ON s.id = mb.blob_id
), all_blobs AS (
    SELECT image_id, count(*) AS blobs, sum(image_size)::bigint AS bytes FROM blobs GROUP BY 1
), there AS (
    SELECT blobs.image_id, p.location_id, count(*) AS blobs, sum(image_size)::bigint AS bytes
    FROM blobs JOIN imagestorageplacement p ON p.storage_id = blobs.id AND p.state = 'good'
    GROUP BY 1, 2
), absent AS (
    SELECT image_id, count(*) AS manifests FROM (
        SELECT named.image_id, a.digest
        FROM named JOIN manifestabsent a ON a.manifest_id = named.id
        UNION SELECT named.image_id, m.digest FROM named JOIN manifest m ON m.id = named.id
        WHERE m.deleted_at IS NOT NULL) AS named_absent
    GROUP BY 1
)
SELECT image.name, m.digest, coalesce(absent.manifests, 0), l.name, l.state,
       {required_in("m.repository_id", "l")},
       coalesce(all_blobs.blobs, 0), coalesce(there.blobs, 0),
       coalesce(all_blobs.bytes, 0) - coalesce(there.bytes, 0)
FROM image JOIN manifest m ON m.id = image.id CROSS JOIN imagestoragelocation l
LEFT JOIN absent ON absent.image_id = image.id
LEFT JOIN all_blobs ON all_blobs.image_id = image.id
LEFT JOIN there ON there.image_id = image.id AND there.location_id = l.id
WHERE l.state <> 'removed'
ORDER BY image.name, l.name
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
        images: an SQL query of the names and the manifests' ids of images.
    """

    def __init__(self, database: Database, required: list[str], images: str) -> None:
        self._database = database
        self._required = required
        self._statement = _COMPLETENESS.format(images=images)

    def run(self, parameters: Mapping[str, object]) -> dict[str, Completeness]:
        """Return the completeness of the images by their names, in one round trip.

        Args:
            parameters: those of the query of images.
        """
        rows = self._database.read(self._statement, {**parameters, "required": self._required})
        found: dict[str, Completeness] = {}
        for name, digest, absent, location, state, is_required, blobs, there, missing in rows:
            image = found.setdefault(name, Completeness(digest, absent, []))
            image.locations.append(
                LocationCompleteness(location, state, is_required, blobs, blobs - there, missing)
            )
        return found
