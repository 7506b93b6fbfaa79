"""Data loss: blobs that are lost with a location whose store will never come back.

A blob is lost with a location if a repository uses it and no other location has a good copy; a
draining location's copy counts. Removals exclude each other, so two of them never count on each
other's copies. Nothing here makes a request to a store.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from atoll.db.pool import Database
from atoll.errors import UserError
from atoll.placement.locations.drain import ONLY_THERE, OPEN_UPLOADS, parameters
from atoll.placement.rules import used
from atoll.storage.states import ACTIVE, DRAINING, READ_ONLY

# A copy at a draining location saves a blob, too.
_READABLE = (ACTIVE, READ_ONLY, DRAINING)

# Of what was lost, what is still needed and was not pushed again.
_LOST_BEFORE = f"""
SELECT s.id, s.content_checksum, s.image_size FROM lostblob g
JOIN imagestorage s ON s.id = g.storage_id
WHERE NOT EXISTS (SELECT FROM imagestorageplacement p
                  WHERE p.storage_id = s.id AND p.state = 'good')
  AND {used("s.id")}
"""

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

# Manifests that name the blobs, and indexes that list those manifests.
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

_COUNTS = f"""
SELECT count(*) FILTER (WHERE EXISTS (
           SELECT FROM imagestorageplacement p JOIN imagestoragelocation l ON l.id = p.location_id
           WHERE p.storage_id = lost.id AND p.state = 'good' AND l.name = %(location)s)),
       ({OPEN_UPLOADS})
FROM ({ONLY_THERE}) lost
"""

# A lost blob has no source, so its tasks go; a copy that is under way may still succeed. A row that
# somebody else has locked is left to the reconciler, as waiting for it here could deadlock.
_NOTE = f"""
WITH lost AS MATERIALIZED ({ONLY_THERE}), noted AS (
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


class LossDiffers(UserError):
    """Another number of blobs would be lost than was said yes to; the text says how many."""


@dataclass(frozen=True)
class LostBlob:
    """A blob without a good copy, its size in bytes, and the repositories that use it."""

    digest: str
    bytes: int
    repositories: list[str]


@dataclass(frozen=True)
class LostImage:
    """A manifest that cannot be pulled whole, and the tags that mean it."""

    repository: str
    digest: str
    tags: list[str]


@dataclass(frozen=True)
class Loss:
    """Blobs without a copy anywhere else, and the images that need them.

    GOOD of them are good at the location by all that is known, and could be copied if its store
    answered; UPLOADS are under way and have bytes there.
    """

    blobs: list[LostBlob]
    images: list[LostImage]
    good: int = 0
    uploads: int = 0

    @property
    def bytes(self) -> int:
        """The size of all blobs, each counted once."""
        return sum(blob.bytes for blob in self.blobs)

    @property
    def repositories(self) -> list[str]:
        """Every repository that uses one of them."""
        return sorted({name for blob in self.blobs for name in blob.repositories})


def loss_with(database: Database, location: str) -> Loss:
    """Return all that is lost if LOCATION goes now. Looks at all blobs that are there."""
    values = _parameters(location)
    good, uploads = database.read(_COUNTS, values)[0]
    blobs = database.read(_BLOBS.format(blobs=ONLY_THERE), values)
    images = database.read(_IMAGES.format(blobs=ONLY_THERE), values)
    return Loss(
        [LostBlob(*row) for row in blobs], [LostImage(*row) for row in images], good, uploads
    )


def lost_before(database: Database) -> Loss:
    """Return what was lost with locations that are gone, is needed, and was not pushed again."""
    blobs = database.read(_BLOBS.format(blobs=_LOST_BEFORE))
    images = database.read(_IMAGES.format(blobs=_LOST_BEFORE))
    return Loss([LostBlob(*row) for row in blobs], [LostImage(*row) for row in images])


def note_loss(cursor: Any, location: str, accepted: int | None) -> None:
    """Record the blobs that are lost with LOCATION, for the holder of the locks.

    Args:
        accepted: the number of blobs that may be lost; None if the removal has begun, and blobs
            whose last other copy was quarantined since are recorded as well.

    Raises:
        LossDiffers: another number of blobs would be lost.
    """
    cursor.execute(_NOTE, _parameters(location))
    lost = int(cursor.fetchall()[0][0])
    if accepted is not None and lost != accepted:
        raise LossDiffers(
            f"{lost} blobs would be lost with '{location}' now, not {accepted}; nothing was"
            " changed: look at the list again"
        )


def _parameters(location: str) -> dict[str, object]:
    return {**parameters(location), "kept": list(_READABLE)}
