"""Completeness of an image at each location: its blobs, and those of all manifests it lists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from atoll.db.pool import Database
from atoll.names import Digest, RepositoryName
from atoll.placement.rules import required_in
from atoll.registry.errors import ManifestUnknown
from atoll.registry.repositories import REPOSITORY_ID, name_parameters
from atoll.registry.tags import alive

_IMAGE = f"""
WITH RECURSIVE image AS (
    SELECT m.id, m.repository_id, m.digest FROM manifest m
    WHERE m.repository_id = {REPOSITORY_ID} AND m.deleted_at IS NULL AND (
        m.digest = %(digest)s OR m.id IN (
            SELECT t.manifest_id FROM tag t
            WHERE t.repository_id = m.repository_id AND t.name = %(tag)s AND {alive("t")}))
), named AS (
    SELECT id FROM image
    UNION SELECT c.child_manifest_id FROM named JOIN manifestchild c ON c.manifest_id = named.id
), blobs AS (
    SELECT s.id, s.image_size FROM imagestorage s
    WHERE s.id IN (SELECT mb.blob_id FROM named JOIN manifestblob mb ON mb.manifest_id = named.id)
)
SELECT image.digest, l.name, l.state,
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
class AtLocation:
    """The copies of an image's blobs at one location; `required` if policies require them there."""

    location: str
    state: str
    required: bool
    blobs: int
    missing_blobs: int
    missing_bytes: int

    @property
    def complete(self) -> bool:
        """Whether all blobs are there."""
        return not self.missing_blobs


@dataclass(frozen=True)
class Completeness:
    """The completeness of an image, by its digest, at each location."""

    digest: str
    locations: list[AtLocation]

    @property
    def complete(self) -> bool:
        """Whether the image is complete at each required location and at one location at least."""
        return any(one.complete for one in self.locations) and all(
            one.complete for one in self.locations if one.required
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        return {
            "manifest_digest": self.digest,
            "complete": self.complete,
            "locations": [{**vars(one), "complete": one.complete} for one in self.locations],
        }


def completeness(
    database: Database, required: list[str], name: RepositoryName, reference: str
) -> Completeness:
    """Return the completeness of an image at each location, in one round trip.

    Args:
        database: where the placements are.
        required: the default locations.
        name: the repository.
        reference: a tag or a digest.

    Raises:
        ManifestUnknown: the repository has no such manifest.
    """
    by_digest = Digest.is_digest(reference)
    rows = database.read(
        _IMAGE,
        {
            **name_parameters(name),
            "required": required,
            "digest": reference if by_digest else None,
            "tag": None if by_digest else reference,
        },
    )
    if not rows:
        raise ManifestUnknown(f"'{name}' has no manifest '{reference}'")
    return Completeness(
        rows[0][0],
        [
            AtLocation(location, state, is_required, blobs, blobs - there, missing)
            for _, location, state, is_required, blobs, there, missing in rows
        ],
    )
