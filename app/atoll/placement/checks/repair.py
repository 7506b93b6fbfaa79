"""Act on the findings of a verification: quarantine defective copies and have them copied again.

A quarantined placement is not read. Its location's worker repairs it by copying the blob again; if
no good copy is left, only a push repairs it. Its row is never deleted.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import Counter

from atoll.db.pool import Database
from atoll.placement.checks.verify import INTACT, Count, PlacementCheck, Run, Scope, begin, record
from atoll.placement.locations.sole_copies import IMAGES, SoleCopy
from atoll.storage.states import KEPT

log = logging.getLogger(__name__)

# Findings that one statement processes.
BATCH = 1000

# If more than half of the copies read from a store, and at least this number, are defective, the
# store is probably misconfigured. None is quarantined then unless an operator names the location.
_IMPLAUSIBLE_FROM = 20

WRONG = Counter("atoll_wrong_placements", "Copies quarantined by background checks", ["location"])

_FINDINGS = """
SELECT l.name, s.content_checksum, s.image_size, f.defect
FROM verificationfinding f JOIN imagestorageplacement p ON p.id = f.placement_id
JOIN imagestorage s ON s.id = p.storage_id JOIN imagestoragelocation l ON l.id = p.location_id
WHERE f.verification_id = %(run)s AND f.defect <> 'sound'
ORDER BY f.placement_id LIMIT %(limit)s
"""

# Copies found defective do not count. Copies that could not be verified do.
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

# Skips copies that were written again after the read. A copy that is in the right state already is
# not changed, but its task becomes due.
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
    """A defective copy; the recorded size is in bytes."""

    location: str
    digest: str
    size: int
    defect: str


@dataclass(frozen=True)
class RepairResult:
    """A placement that was quarantined, or restored if `intact`.

    `changed` is False if it was in that state already.
    """

    digest: str
    location: str
    intact: bool
    changed: bool


def findings(database: Database, run: Run, limit: int) -> list[Finding]:
    """Return the first defective copies of a run."""
    rows = database.read(_FINDINGS, {"run": run.id, "limit": limit})
    return [Finding(*row) for row in rows]


def lost(database: Database, run: Run, limit: int) -> tuple[int, list[SoleCopy]]:
    """Return the number of blobs without a good copy, and the first of them with their images."""
    total = int(database.read(_LOST_COUNT, {"run": run.id})[0][0])
    rows = database.read(_LOST_LIST, {"run": run.id, "limit": limit}) if total else []
    return total, [SoleCopy(*row) for row in rows]


def implausible(counts: Mapping[str, Count]) -> list[str]:
    """Return the locations with so many defects that the store is probably misconfigured.

    Wrong bytes count like missing objects: a proxy may answer all requests with its own page.
    """
    return [
        name
        for name, count in counts.items()
        if count.wrong >= _IMPLAUSIBLE_FROM and count.wrong > count.verified + count.sound
    ]


def heal(
    database: Database, run: Run, *, spared: list[str], queue: bool, batch: int = BATCH
) -> Iterator[RepairResult]:
    """Quarantine the defective copies of a run, and restore intact ones.

    The caller deletes each blob's entry from the cache.

    Args:
        database: where the placements are.
        run: the verification.
        spared: locations where nothing is changed.
        queue: whether to create tasks that copy the blobs again.
        batch: findings that one statement processes.

    Raises:
        DatabaseUnavailable: the call can be repeated.
    """
    parameters = {
        "run": run.id,
        "sound": INTACT,
        "spared": spared,
        "queue": queue,
        "kept": list(KEPT),
        "batch": batch,
    }
    after = 0
    while rows := database.run(_HEAL, {**parameters, "after": after}):
        after = rows[-1][0]
        for _, digest, location, intact, changed in rows:
            if digest is not None:
                yield RepairResult(digest, location, intact, changed)


def change_states(
    database: Database, location: str, checks: list[PlacementCheck]
) -> Iterator[RepairResult]:
    """Quarantine defective copies at a location, restore intact ones, and yield changed ones.

    The copies are recorded as a verification of their own.
    """
    # `atoll verify` has samples greater than 0, so `--resume` never selects this run.
    run = begin(database, Scope(location=location, full=True, sample=0))
    record(database, run, checks)
    for one in heal(database, run, spared=[], queue=True):
        if not one.changed:
            continue
        fields = {"location": location, "digest": one.digest, "verification": run.id}
        if one.intact:
            log.info("quarantined copy is intact, restored", extra=fields)
        else:
            WRONG.labels(location).inc()
            log.error("copy is defective, quarantined", extra=fields)
        yield one
