"""Remove a location: prove that nobody needs it, mark it, take its placements, take its row.

Marking and placing a blob there exclude each other by an advisory lock on the location, so nothing
is placed there after the proof. Each batch of placements moves to a journal, from where all can be
put back until the location's own row goes; a removal that was cut off goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from atoll.db.pool import Database
from atoll.replication.draining import (
    REMAINING,
    STATES,
    LocationNeeded,
    LocationUnknown,
    Remaining,
    parameters,
    require_known,
)
from atoll.replication.loss import note_loss
from atoll.storage.states import KEPT

# Placements that one transaction takes.
BATCH = 1000

# For whoever places a blob: nobody marks %(location)s as removed before that is committed.
LOCK_LOCATION_SHARED = (
    "SELECT pg_advisory_xact_lock_shared(hashtextextended('location ' || %(location)s, 0));"
)
_LOCK_LOCATION = "SELECT pg_advisory_xact_lock(hashtextextended('location ' || %(location)s, 0))"

_MARK = """
WITH marked AS (
    INSERT INTO locationremoval (location_id, state_before)
    SELECT id, state FROM imagestoragelocation
    WHERE name = %(location)s AND state <> 'removed'
)
UPDATE imagestoragelocation SET state = 'removed' WHERE name = %(location)s;
DELETE FROM replicationtask t USING imagestoragelocation l
WHERE l.id = t.location_id AND l.name = %(location)s
"""

_FORGET_UPLOADS = """
WITH gone AS (
    DELETE FROM blobupload
    WHERE first_location = %(location)s
       OR chunks @> jsonb_build_array(jsonb_build_object('location', %(location)s))
    RETURNING uuid
)
SELECT count(*) FROM gone
"""

_COUNT = """
SELECT count(*) FROM imagestorageplacement p JOIN imagestoragelocation l ON l.id = p.location_id
WHERE l.name = %(location)s
"""

_TAKE = """
WITH taken AS (
    DELETE FROM imagestorageplacement WHERE id IN (
        SELECT p.id FROM imagestorageplacement p
        JOIN imagestoragelocation l ON l.id = p.location_id
        WHERE l.name = %(location)s AND l.state = 'removed' ORDER BY p.id LIMIT %(batch)s)
    RETURNING id, location_id, storage_id, state, verified_at
), noted AS (
    INSERT INTO removedplacement (location_id, storage_id, state, verified_at)
    SELECT location_id, storage_id, state, verified_at FROM taken
)
SELECT id FROM taken ORDER BY id
"""

_FINISH = """
DELETE FROM imagestoragelocation WHERE name = %(location)s AND state = 'removed' RETURNING id
"""

_UNDO = """
INSERT INTO imagestorageplacement (storage_id, location_id, state, verified_at)
SELECT r.storage_id, r.location_id, r.state, r.verified_at
FROM removedplacement r JOIN imagestoragelocation l ON l.id = r.location_id
WHERE l.name = %(location)s
ON CONFLICT (storage_id, location_id) DO NOTHING;
UPDATE imagestoragelocation l SET state = m.state_before
FROM locationremoval m WHERE m.location_id = l.id AND l.name = %(location)s;
DELETE FROM lostblob g WHERE g.location = %(location)s;
DELETE FROM locationremoval m USING imagestoragelocation l
WHERE l.id = m.location_id AND l.name = %(location)s RETURNING m.location_id
"""


@dataclass(frozen=True)
class Removed:
    """What one step took away: uploads that were given up, and placements by their ids."""

    uploads: int = 0
    placements: tuple[int, ...] = ()


def check_removal(database: Database, location: str) -> int:
    """Return how many placements a removal of LOCATION would delete; nothing changes.

    Raises LocationUnknown, or LocationNeeded with what keeps it.
    """
    with database.transaction() as cursor:
        _prove(cursor, location)
        cursor.execute(_COUNT, {"location": location})
        return int(cursor.fetchall()[0][0])


def check_loss(database: Database, location: str) -> None:
    """Raise LocationUnknown or LocationNeeded where LOCATION cannot go, whatever may be lost."""
    with database.transaction() as cursor:
        _require_another(cursor, location)


def remove_location(
    database: Database, location: str, *, accepted_loss: int | None = None, batch: int = BATCH
) -> Iterator[Removed]:
    """Remove LOCATION, and yield after each step what it took away.

    With ACCEPTED_LOSS as many blobs may be lost with it, no fewer and no more. Raises
    LocationUnknown, LocationNeeded or LossDiffers, having changed nothing; DatabaseUnavailable,
    after which it can be called again, or undone.
    """
    with database.transaction() as cursor:
        cursor.execute(_LOCK_LOCATION, {"location": location})
        if accepted_loss is None:
            _prove(cursor, location)
        else:
            _require_another(cursor, location)
            note_loss(cursor, location, accepted_loss)
        cursor.execute(_MARK, {"location": location})
    yield Removed(uploads=database.run(_FORGET_UPLOADS, {"location": location})[0][0])
    while rows := database.run(_TAKE, {"location": location, "batch": batch}):
        yield Removed(placements=tuple(row[0] for row in rows))
    database.run(_FINISH, {"location": location})


def undo_removal(database: Database, location: str) -> None:
    """Put back what a removal took away that has not ended. Raises LocationUnknown."""
    if not database.run(_UNDO, {"location": location}):
        raise LocationUnknown(f"no removal of '{location}' is under way")


def _require_another(cursor: Any, location: str) -> None:
    """Raise unless LOCATION is known, and another one stays."""
    cursor.execute(STATES)
    states = dict(cursor.fetchall())
    require_known(location, states)
    others = [name for name, state in states.items() if name != location and state in KEPT]
    if not others:
        raise LocationNeeded(f"'{location}' is the last location; a registry needs one")


def _prove(cursor: Any, location: str) -> None:
    """Raise unless everything that is at LOCATION is also elsewhere, or it is unknown."""
    _require_another(cursor, location)
    cursor.execute(REMAINING, parameters(location))
    remaining = Remaining(*cursor.fetchall()[0])
    if remaining.blobs:
        raise LocationNeeded(
            f"{remaining.blobs} blobs ({remaining.bytes} bytes) are only at '{location}';"
            f" copy them first: atoll drain {location} --wait. If its store is gone for good:"
            f" atoll remove-location {location} --lost"
        )
    if remaining.uploads:
        raise LocationNeeded(
            f"{remaining.uploads} uploads have bytes at '{location}';"
            f" wait until they end: atoll drain {location} --wait"
        )
