"""Data loss: blobs that are lost with a location whose store will never come back.

A blob is lost with a location if a repository uses it and no other location has a good copy; a
draining location's copy counts. Removals exclude each other, so two of them never count on each
other's copies. No store receives a request.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from atoll.db.pool import Database
from atoll.placement.locations.errors import LossNotAccepted
from atoll.placement.locations.sole_copies import OPEN_UPLOADS, SOLE_COPIES, parameters
from atoll.placement.rules import used
from atoll.storage.states import ACTIVE, DRAINING, READ_ONLY

# Unlike in the proof of a removal, a copy at a draining location counts.
_READABLE = (ACTIVE, READ_ONLY, DRAINING)

# List lost blobs that are still used and were not pushed again.
_RECORDED = f"""
SELECT s.id, s.content_checksum, s.image_size FROM lostblob g
JOIN imagestorage s ON s.id = g.storage_id
WHERE NOT EXISTS (SELECT FROM imagestorageplacement p
                  WHERE p.storage_id = s.id AND p.state = 'good')
  AND {used("s.id")}
"""

# List the blobs of the query {blobs} with the repositories that use them.
_BLOBS = """
WITH blob AS MATERIALIZED ({blobs})
SELECT blob.content_checksum, blob.image_size, array(
    SELECT n.username || '/' || r.name
    FROM (SELECT mb.repository_id FROM manifestblob mb WHERE mb.blob_id = blob.id
          UNION SELECT ub.repository_id FROM uploadedblob ub WHERE ub.blob_id = blob.id) uses
    JOIN repository r ON r.id = uses.repository_id JOIN "user" n ON n.id = r.namespace_user_id
    ORDER BY 1)
FROM blob ORDER BY blob.id
"""

# List the manifests that need the blobs of the query {blobs}: those that name one, and indexes of
# these.
_IMAGES = """
WITH RECURSIVE blob AS MATERIALIZED ({blobs}), needing AS (
    SELECT mb.manifest_id FROM manifestblob mb JOIN blob ON blob.id = mb.blob_id
    UNION SELECT mc.manifest_id FROM manifestchild mc
    JOIN needing ON needing.manifest_id = mc.child_manifest_id
)
SELECT n.username || '/' || r.name, m.digest, array(
    SELECT t.name FROM tag t WHERE t.manifest_id = m.id AND t.lifetime_end_ms IS NULL ORDER BY 1)
FROM needing JOIN manifest m ON m.id = needing.manifest_id
JOIN repository r ON r.id = m.repository_id JOIN "user" n ON n.id = r.namespace_user_id
ORDER BY 1, 2
"""

# Count the lost blobs whose copy at the location is good, and uploads with bytes there.
_COUNTS = f"""
SELECT count(*) FILTER (WHERE EXISTS (
           SELECT FROM imagestorageplacement p JOIN imagestoragelocation l ON l.id = p.location_id
           WHERE p.storage_id = lost.id AND p.state = 'good' AND l.name = %(location)s)),
       ({OPEN_UPLOADS})
FROM ({SOLE_COPIES}) lost
"""

# Count the lost blobs, the repositories that use them, and the manifests and tags that need them.
_TOTALS = f"""
WITH RECURSIVE blob AS MATERIALIZED ({SOLE_COPIES}), needing AS (
    SELECT mb.manifest_id FROM manifestblob mb JOIN blob ON blob.id = mb.blob_id
    UNION SELECT mc.manifest_id FROM manifestchild mc
    JOIN needing ON needing.manifest_id = mc.child_manifest_id
)
SELECT (SELECT count(*) FROM blob), (SELECT coalesce(sum(image_size), 0)::bigint FROM blob),
       (SELECT count(*) FROM (
           SELECT mb.repository_id FROM manifestblob mb JOIN blob ON blob.id = mb.blob_id
           UNION SELECT ub.repository_id FROM uploadedblob ub JOIN blob ON blob.id = ub.blob_id
       ) AS uses),
       (SELECT count(*) FROM needing),
       (SELECT count(*) FROM needing JOIN tag t ON t.manifest_id = needing.manifest_id
        WHERE t.lifetime_end_ms IS NULL)
"""

# Record the blobs that are lost with a location. A lost blob has no source, so its tasks are
# deleted; a copy in progress may still succeed. Tasks that another transaction has locked are left
# to the reconciler, because waiting for them could deadlock.
_RECORD = f"""
WITH lost AS MATERIALIZED ({SOLE_COPIES}), recorded AS (
    INSERT INTO lostblob (storage_id, location) SELECT id, %(location)s FROM lost
    ON CONFLICT (storage_id) DO UPDATE SET location = EXCLUDED.location, lost_at = now()
), impossible AS (
    DELETE FROM replicationtask WHERE id IN (
        SELECT t.id FROM replicationtask t JOIN lost ON lost.id = t.storage_id
        WHERE t.lease_expires IS NULL OR t.lease_expires <= clock_timestamp()
        ORDER BY t.id FOR UPDATE OF t SKIP LOCKED)
)
SELECT count(*) FROM lost
"""


@dataclass(frozen=True)
class LostBlob:
    """A blob without a good copy, its size in bytes, and the repositories that use it."""

    digest: str
    bytes: int
    repositories: list[str]


@dataclass(frozen=True)
class LostImage:
    """A manifest that cannot be pulled completely, and the tags that point to it."""

    repository: str
    digest: str
    tags: list[str]


@dataclass(frozen=True)
class Loss:
    """Lost blobs and the images that need them.

    Attributes:
        good: blobs whose copy at the location is recorded as good. They could be copied if the
            store could be read from.
        uploads: uploads in progress that have bytes at the location.
    """

    blobs: list[LostBlob]
    images: list[LostImage]
    good: int = 0
    uploads: int = 0

    @property
    def bytes(self) -> int:
        """The size of all blobs in bytes, each counted once."""
        return sum(blob.bytes for blob in self.blobs)

    @property
    def repositories(self) -> list[str]:
        """The repositories that use one of the blobs."""
        return sorted({name for blob in self.blobs for name in blob.repositories})


@dataclass(frozen=True)
class LossPreview:
    """A loss in numbers, and the first blobs and images of it.

    Attributes:
        good: blobs whose copy at the location is recorded as good.
        uploads: uploads in progress that have bytes at the location.
        repositories: repositories that use one of the blobs.
        images: manifests that need one of the blobs, with `tags` that point to them.
    """

    blobs: int
    bytes: int
    good: int
    uploads: int
    repositories: int
    images: int
    tags: int
    lost_images: list[LostImage]
    lost_blobs: list[LostBlob]


class Losses:
    """Query lost blobs and the images that need them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def expected(self, location: str) -> Loss:
        """Return what would be lost with a location. Reads all blobs of the location."""
        values = _parameters(location)
        good, uploads = self._database.read(_COUNTS, values)[0]
        blobs = self._database.read(_BLOBS.format(blobs=SOLE_COPIES), values)
        images = self._database.read(_IMAGES.format(blobs=SOLE_COPIES), values)
        return Loss(
            [LostBlob(*row) for row in blobs], [LostImage(*row) for row in images], good, uploads
        )

    def preview(self, location: str, limit: int) -> LossPreview:
        """Return what would be lost with a location, in bounded memory.

        Args:
            location: the name of the location, all of whose blobs are read.
            limit: the number of images, and of blobs, to list.
        """
        values = {**_parameters(location), "limit": limit}
        blobs, size, repositories, images, tags = self._database.read(_TOTALS, values)[0]
        good, uploads = self._database.read(_COUNTS, values)[0]
        first_images = self._database.read(
            _IMAGES.format(blobs=SOLE_COPIES) + "LIMIT %(limit)s", values
        )
        first_blobs = self._database.read(
            _BLOBS.format(blobs=SOLE_COPIES) + "LIMIT %(limit)s", values
        )
        return LossPreview(
            blobs,
            size,
            good,
            uploads,
            repositories,
            images,
            tags,
            [LostImage(*row) for row in first_images],
            [LostBlob(*row) for row in first_blobs],
        )

    def recorded(self) -> Loss:
        """Return the blobs that were lost with locations, are used, and were not pushed again."""
        blobs = self._database.read(_BLOBS.format(blobs=_RECORDED))
        images = self._database.read(_IMAGES.format(blobs=_RECORDED))
        return Loss([LostBlob(*row) for row in blobs], [LostImage(*row) for row in images])


def record_loss(cursor: Any, location: str, accepted: int | None) -> None:
    """Record the blobs that are lost with LOCATION, for the holder of the locks.

    Args:
        accepted: the number of blobs that may be lost; None if the removal has begun, and blobs
            whose last other copy was quarantined since are recorded as well.

    Raises:
        LossNotAccepted: another number of blobs would be lost.
    """
    cursor.execute(_RECORD, _parameters(location))
    lost = int(cursor.fetchall()[0][0])
    if accepted is not None and lost != accepted:
        raise LossNotAccepted(
            f"{lost} blobs would be lost with '{location}' now, not {accepted}; nothing was"
            " changed: look at the list again"
        )


def _parameters(location: str) -> dict[str, object]:
    return {**parameters(location), "kept": list(_READABLE)}
