"""Act on the findings of a verification: quarantine wrong copies and order new ones.

A placement in quarantine is not read. Its location's worker heals it by copying the blob there
again; where no good copy is left, only a push heals it. Its row is never dropped.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import Counter

from atoll.db.pool import Database
from atoll.placement.checks.verify import SOUND, Count, Looked, Run, Scope, begin, record
from atoll.placement.locations.drain import IMAGES, OnlyThere
from atoll.storage.states import KEPT

log = logging.getLogger(__name__)

# Findings that one statement acts on.
BATCH = 1000

# A store of which more than half of what was read is wrong, and at least so many blobs, is rather
# configured wrongly: none of it is quarantined unless a person names it.
_IMPLAUSIBLE_FROM = 20

WRONG = Counter("atoll_wrong_placements", "Copies quarantined by background checks", ["location"])

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

# A copy that was written again since it was read stays as it is; so does one that is in that state
# already, but its task is woken.
_HEAL = """
WITH found AS (
    SELECT f.placement_id, f.verified_at, f.defect = %(sound)s AS sound
    FROM verificationfinding f JOIN imagestorageplacement p ON p.id = f.placement_id
    JOIN imagestoragelocation l ON l.id = p.location_id
    WHERE f.verification_id = %(run)s AND f.placement_id > %(after)s
      AND l.name <> ALL(%(spared)s)
    ORDER BY f.placement_id LIMIT %(batch)s
), locked AS (
    SELECT p.id, p.storage_id, p.location_id, p.state AS old, found.sound
    FROM imagestorageplacement p JOIN found ON p.id = found.placement_id
    WHERE p.verified_at = found.verified_at ORDER BY p.id FOR NO KEY UPDATE OF p
), changed AS (
    UPDATE imagestorageplacement p
    SET state = CASE WHEN locked.sound THEN 'good' ELSE 'suspect' END,
        verified_at = CASE WHEN locked.sound THEN clock_timestamp() ELSE p.verified_at END
    FROM locked WHERE p.id = locked.id AND (locked.old = 'good') <> locked.sound
    RETURNING p.id
), settled AS (
    DELETE FROM placementdoubt d USING locked
    WHERE d.storage_id = locked.storage_id AND d.location_id = locked.location_id
), queued AS (
    INSERT INTO replicationtask (storage_id, location_id)
    SELECT locked.storage_id, locked.location_id
    FROM locked JOIN imagestoragelocation l ON l.id = locked.location_id
    WHERE NOT locked.sound AND %(queue)s AND l.state = ANY(%(kept)s)
    ORDER BY locked.storage_id
    ON CONFLICT (storage_id, location_id) DO UPDATE SET available_at = clock_timestamp()
        WHERE replicationtask.lease_token IS NULL
          AND replicationtask.available_at > clock_timestamp()
)
SELECT found.placement_id, s.content_checksum, l.name, locked.sound,
       EXISTS (SELECT FROM changed WHERE changed.id = locked.id)
FROM found LEFT JOIN locked ON locked.id = found.placement_id
LEFT JOIN imagestorage s ON s.id = locked.storage_id
LEFT JOIN imagestoragelocation l ON l.id = locked.location_id
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
    """A placement that was quarantined, or restored if it proved SOUND.

    It is CHANGED unless it was in that state already.
    """

    digest: str
    location: str
    sound: bool
    changed: bool


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
    """Return the locations of which so much is wrong that their store is rather not the right one.

    Wrong objects count as missing ones do: a front end may answer everything with its own page.
    """
    return [
        name
        for name, count in counts.items()
        if count.wrong >= _IMPLAUSIBLE_FROM and count.wrong > count.verified + count.sound
    ]


def heal(
    database: Database, run: Run, *, spared: list[str], queue: bool, batch: int = BATCH
) -> Iterator[Healed]:
    """Quarantine the copies that RUN found wrong, and restore those that it found sound.

    The caller deletes each blob's entry from the cache.

    Args:
        spared: locations where nothing is changed.
        queue: whether wrong copies get tasks to be written again.
        batch: findings that one statement acts on.

    Raises:
        DatabaseUnavailable: it can be called again.
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
        for _, digest, location, sound, changed in rows:
            if digest is not None:
                yield Healed(digest, location, sound, changed)


def change_states(database: Database, location: str, looked: list[Looked]) -> Iterator[Healed]:
    """Quarantine the wrong copies at LOCATION among LOOKED and restore the sound ones.

    They are recorded as a verification of their own, and those that changed their state yielded.
    """
    # A person's sample is more than 0, so no `atoll verify --resume` takes this run for its own.
    run = begin(database, Scope(location=location, full=True, sample=0))
    record(database, run, looked)
    for one in heal(database, run, spared=[], queue=True):
        if not one.changed:
            continue
        fields = {"location": location, "digest": one.digest, "verification": run.id}
        if one.sound:
            log.info("copy in quarantine is right; restored", extra=fields)
        else:
            WRONG.labels(location).inc()
            log.error("copy is wrong; quarantined", extra=fields)
        yield one
