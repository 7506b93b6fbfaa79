"""Act on what a verification found: quarantine, and have it written anew from a good copy.

A placement in quarantine is read by nobody and healed by its location's worker, which copies the
blob there again; where no good copy is left, by whoever pushes the blob. Its row is never dropped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from atoll.db.pool import Database
from atoll.replication.draining import IMAGES, OnlyThere
from atoll.replication.verification import SOUND, Count, Run
from atoll.storage.states import KEPT

# Findings that one statement acts on.
BATCH = 1000

# A store that lacks more than half of what was looked at, and so many blobs at least, is rather one
# that is configured wrongly: nobody puts all of it in quarantine without being asked to.
_IMPLAUSIBLE_FROM = 20

_FINDINGS = """
SELECT l.name, s.content_checksum, s.image_size, f.defect
FROM verificationfinding f JOIN imagestorageplacement p ON p.id = f.placement_id
JOIN imagestorage s ON s.id = p.storage_id JOIN imagestoragelocation l ON l.id = p.location_id
WHERE f.verification_id = %(run)s AND f.defect <> 'sound'
ORDER BY f.placement_id LIMIT %(limit)s
"""

# A copy that was found wrong is none; one that could not be looked at may be one.
_LOST = """
SELECT s.id, s.content_checksum, s.image_size
FROM imagestorage s
WHERE s.id IN (SELECT p.storage_id FROM verificationfinding f
               JOIN imagestorageplacement p ON p.id = f.placement_id
               WHERE f.verification_id = %(run)s AND f.defect <> 'sound')
  AND NOT EXISTS (
      SELECT FROM imagestorageplacement o JOIN imagestoragelocation l ON l.id = o.location_id
      LEFT JOIN verificationfinding f
             ON f.placement_id = o.id AND f.verification_id = %(run)s
            AND f.verified_at = o.verified_at
      WHERE o.storage_id = s.id AND l.state <> 'removed'
        AND coalesce(f.defect, CASE o.state WHEN 'good' THEN 'sound' END) = 'sound')
"""
_LOST_COUNT = f"SELECT count(*) FROM ({_LOST}) blob"
_LOST_LIST = f"""
WITH blob AS ({_LOST} ORDER BY s.id LIMIT %(limit)s)
SELECT blob.content_checksum, blob.image_size, {IMAGES} FROM blob ORDER BY blob.id
"""

# What was written anew since it was looked at stays as it is.
_HEAL = """
WITH found AS (
    SELECT f.placement_id, f.verified_at, f.defect = %(sound)s AS sound
    FROM verificationfinding f JOIN imagestorageplacement p ON p.id = f.placement_id
    JOIN imagestoragelocation l ON l.id = p.location_id
    WHERE f.verification_id = %(run)s AND f.placement_id > %(after)s
      AND l.name <> ALL(%(spared)s)
    ORDER BY f.placement_id LIMIT %(batch)s
), changed AS (
    UPDATE imagestorageplacement p
    SET state = CASE WHEN found.sound THEN 'good' ELSE 'suspect' END,
        verified_at = CASE WHEN found.sound THEN clock_timestamp() ELSE p.verified_at END
    FROM found WHERE p.id = found.placement_id AND p.verified_at = found.verified_at
    RETURNING p.id, p.storage_id, p.location_id, found.sound
), queued AS (
    INSERT INTO replicationtask (storage_id, location_id)
    SELECT c.storage_id, c.location_id
    FROM changed c JOIN imagestoragelocation l ON l.id = c.location_id
    WHERE NOT c.sound AND %(queue)s AND l.state = ANY(%(kept)s)
    ON CONFLICT (storage_id, location_id) DO UPDATE SET available_at = clock_timestamp()
        WHERE replicationtask.lease_token IS NULL
          AND replicationtask.available_at > clock_timestamp()
)
SELECT found.placement_id, s.content_checksum, l.name, changed.sound
FROM found LEFT JOIN changed ON changed.id = found.placement_id
LEFT JOIN imagestorage s ON s.id = changed.storage_id
LEFT JOIN imagestoragelocation l ON l.id = changed.location_id
ORDER BY found.placement_id
"""


@dataclass(frozen=True)
class Finding:
    """A blob that is wrong at a location; its size, by its row, is in bytes."""

    location: str
    digest: str
    size: int
    defect: str


@dataclass(frozen=True)
class Healed:
    """A placement whose state was changed: into quarantine, or out of it if it proved SOUND."""

    digest: str
    location: str
    sound: bool


def findings(database: Database, run: Run, limit: int) -> list[Finding]:
    """Return the first LIMIT placements that RUN found wrong."""
    rows = database.read(_FINDINGS, {"run": run.id, "limit": limit})
    return [Finding(*row) for row in rows]


def lost(database: Database, run: Run, limit: int) -> tuple[int, list[OnlyThere]]:
    """Return how many blobs have no good copy left, and the first LIMIT with images of them."""
    total = int(database.read(_LOST_COUNT, {"run": run.id})[0][0])
    rows = database.read(_LOST_LIST, {"run": run.id, "limit": limit}) if total else []
    return total, [OnlyThere(*row) for row in rows]


def implausible(counts: Mapping[str, Count]) -> list[str]:
    """Return the locations that lack so much that their store is rather not the right one."""
    return [
        name
        for name, count in counts.items()
        if count.missing >= _IMPLAUSIBLE_FROM and count.missing > count.verified + count.sound
    ]


def heal(
    database: Database, run: Run, *, spared: list[str], queue: bool, batch: int = BATCH
) -> Iterator[Healed]:
    """Put what RUN found wrong in quarantine, and what it found sound out of it.

    Not at the locations SPARED. With QUEUE each gets a task to be written anew. Whoever calls lets
    the cache forget each blob, and rings for its location. Raises DatabaseUnavailable, after which
    it can be called again.
    """
    parameters = {
        "run": run.id,
        "sound": SOUND,
        "spared": spared,
        "queue": queue,
        "kept": list(KEPT),
        "batch": batch,
    }
    after = 0
    while rows := database.run(_HEAL, {**parameters, "after": after}):
        after = rows[-1][0]
        for _, digest, location, sound in rows:
            if digest is not None:
                yield Healed(digest, location, sound)
