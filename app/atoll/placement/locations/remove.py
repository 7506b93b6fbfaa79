"""Remove a location: prove that every blob has another copy, mark it, take its placements and row.

A removal counts copies at other locations, so nothing that reduces them may run beside the proof:

- Other removals and state changes wait for the states lock, which is held from before the proof
  until the mark is committed. Two removals therefore never count on each other's copies: the second
  one sees the first one's mark. Undoing and each later step take the lock as well, so an undo never
  meets a batch that is not committed.
- Only a draining location is removed; the one of a lost store is set to draining first. Deleting
  over-replicated copies (`excess`) relies on copies at locations that are not draining, and locks
  their rows: whatever relied on this location was committed before it began to drain, and is
  visible to the proof. A copy that is deleted during the proof has another one at a location that
  is neither this one nor about to drain, so the blob is still safe when the mark is committed.
- Nothing is placed at the location from before the proof until the mark: that needs the location's
  own lock, which the removal holds. A push that cannot get it writes to another location, so it
  does not wait for the proof. Blobs that no repository uses are not part of the proof; a push that
  makes one used again places it, and that is at another location.
- A second proof, over the journal, runs just before the location's row goes. It finds blobs whose
  copies elsewhere were quarantined since the first one, and those that a manifest has named since
  then although their repository had given them up. The removal then puts everything back.

Each batch of placements moves to a journal, from which all of them can be restored until the
location's own row goes; a removal that was interrupted resumes where it stopped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from atoll.db.pool import Database
from atoll.placement.location_locks import LOCK_LOCATION, LOCK_STATES
from atoll.placement.locations.drain import (
    ANY_GOOD_COPY,
    OPEN_UPLOADS,
    REMAINING,
    LocationNeeded,
    LocationUnknown,
    Remaining,
    SoleCopies,
    Trust,
    change_state,
    locked_states,
    parameters,
    require_known,
    states_under_lock,
)
from atoll.placement.locations.lost import LossDiffers, note_loss
from atoll.storage.states import DRAINING, KEPT, REMOVED

# Placements that one transaction takes.
BATCH = 1000

_MARK = """
WITH marked AS (
    INSERT INTO locationremoval (location_id, state_before)
    SELECT id, %(state_before)s FROM imagestoragelocation
    WHERE name = %(location)s AND state <> 'removed'
)
UPDATE imagestoragelocation SET state = 'removed' WHERE name = %(location)s
"""

# Tasks that are locked now, or written by a statement older than the mark, go with the last step.
_GIVE_UP_WORK = """
DELETE FROM replicationtask WHERE id IN (
    SELECT t.id FROM replicationtask t JOIN imagestoragelocation l ON l.id = t.location_id
    WHERE l.name = %(location)s ORDER BY t.id FOR UPDATE OF t SKIP LOCKED);
WITH gone AS (
    DELETE FROM blobupload
    WHERE (first_location = %(location)s
           OR chunks @> jsonb_build_array(jsonb_build_object('location', %(location)s)))
      AND (%(lost)s OR ended
           OR changed_at < clock_timestamp() - make_interval(mins => %(idle_minutes)s))
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

# The lock on the row waits for statements that have just written a task for the location, so that
# their tasks are seen and deleted.
_FINISH = """
SELECT id FROM imagestoragelocation WHERE name = %(location)s FOR UPDATE;
DELETE FROM replicationtask t USING imagestoragelocation l
WHERE l.id = t.location_id AND l.name = %(location)s AND l.state = 'removed';
DELETE FROM imagestoragelocation WHERE name = %(location)s AND state = 'removed'
"""

_UNDO = """
INSERT INTO imagestorageplacement (storage_id, location_id, state, verified_at)
SELECT r.storage_id, r.location_id, r.state, r.verified_at
FROM removedplacement r JOIN imagestoragelocation l ON l.id = r.location_id
WHERE l.name = %(location)s
ON CONFLICT (storage_id, location_id) DO NOTHING;
UPDATE imagestoragelocation l SET state = m.state_before
FROM locationremoval m WHERE m.location_id = l.id AND l.name = %(location)s;
DELETE FROM lostblob g USING locationremoval m, imagestoragelocation l
WHERE g.location = %(location)s AND l.name = %(location)s AND m.location_id = l.id
  AND g.lost_at >= m.started_at;
DELETE FROM locationremoval m USING imagestoragelocation l
WHERE l.id = m.location_id AND l.name = %(location)s RETURNING m.location_id
"""


@dataclass(frozen=True)
class Removed:
    """What one step removed: uploads that were given up, and placements by their ids."""

    uploads: int = 0
    placements: tuple[int, ...] = ()


def check_removal(database: Database, location: str, trust: Trust = ANY_GOOD_COPY) -> int:
    """Return how many placements a removal of LOCATION would delete; nothing changes.

    Args:
        trust: which copies at other locations count.

    Raises:
        LocationUnknown: there is no such location.
        LocationNeeded: it cannot be removed.
    """
    with database.transaction() as cursor:
        _require_draining(cursor, location)
        _prove(cursor, location, trust)
        cursor.execute(_COUNT, {"location": location})
        return int(cursor.fetchall()[0][0])


def check_loss(database: Database, location: str) -> None:
    """Raise LocationUnknown or LocationNeeded where LOCATION cannot go, whatever may be lost."""
    with database.transaction() as cursor:
        _require_another(cursor, location)


def remove_location(
    database: Database,
    location: str,
    *,
    accepted_loss: int | None = None,
    trust: Trust = ANY_GOOD_COPY,
    batch: int = BATCH,
) -> Iterator[Removed]:
    """Remove LOCATION, which must be draining, and yield what each step removed.

    Args:
        accepted_loss: the store is lost, with exactly so many blobs; the location need not drain.
        trust: which copies at other locations count; not for a lost store.
        batch: placements that one transaction takes.

    Raises:
        LocationUnknown: there is no such location.
        LocationNeeded: it cannot be removed and nothing was changed, or what was removed is
            restored: another command undid the removal, or a blob lost its other copy meanwhile.
        LossDiffers: another number of blobs would be lost; nothing was changed.
        DatabaseUnavailable: the removal can be resumed or undone; a location whose store is lost
            may be draining.
    """
    if accepted_loss is None:
        _mark(database, location, trust)
    else:
        _mark_lost(database, location, accepted_loss)
    lost = accepted_loss is not None
    yield Removed(uploads=_give_up_work(database, location, lost=lost))
    while taken := _take(database, location, batch):
        yield Removed(placements=taken)
    _finish(database, location, lost=lost)


def undo_removal(database: Database, location: str) -> None:
    """Restore what a removal that has not ended took away.

    Raises:
        LocationUnknown: no removal of LOCATION is under way.
        LocationsBusy: another command is changing the locations.
    """
    with locked_states(database) as cursor:
        cursor.execute(_UNDO, {"location": location})
        if not cursor.fetchall():
            raise LocationUnknown(f"no removal of '{location}' is under way")


def _mark(database: Database, location: str, trust: Trust) -> None:
    with locked_states(database) as cursor:
        _require_draining(cursor, location)
        # Before the lock: while it is held these uploads could not end as they are.
        cursor.execute(OPEN_UPLOADS, parameters(location))
        _require_no_uploads(location, int(cursor.fetchall()[0][0]))
        cursor.execute(LOCK_LOCATION, {"location": location})
        _prove(cursor, location, trust)
        cursor.execute(_MARK, {"location": location, "state_before": DRAINING})


def _mark_lost(database: Database, location: str, accepted: int) -> None:
    before = _drain_lost(database, location)
    try:
        with locked_states(database) as cursor:
            _require_another(cursor, location)
            _require_draining(cursor, location)
            cursor.execute(LOCK_LOCATION, {"location": location})
            note_loss(cursor, location, accepted)
            cursor.execute(_MARK, {"location": location, "state_before": before})
    except (LocationNeeded, LossDiffers):
        if before in KEPT:
            _restore_state(database, location, before)
        raise


def _drain_lost(database: Database, location: str) -> str:
    """Set the location of a lost store to draining, and return its state before that.

    In a transaction of its own, so that what relied on the location is visible to the proof.
    """
    with locked_states(database) as cursor:
        before = _require_another(cursor, location)[location]
        if before in KEPT:
            change_state(cursor, location, DRAINING)
    return before


def _restore_state(database: Database, location: str, state: str) -> None:
    with database.transaction() as cursor:
        cursor.execute(LOCK_STATES)
        if states_under_lock(cursor).get(location) == DRAINING:
            change_state(cursor, location, state)


def _give_up_work(database: Database, location: str, *, lost: bool) -> int:
    """Delete copies that are due there, and uploads with bytes there; return how many of these.

    An upload under way, by a process that noticed the drain too late, can still read its bytes and
    ends at another location, unless the store is lost.
    """
    with database.transaction() as cursor:
        cursor.execute(LOCK_STATES)
        if not _under_way(cursor, location):
            return 0
        cursor.execute(_GIVE_UP_WORK, {**parameters(location), "lost": lost})
        return int(cursor.fetchall()[0][0])


def _take(database: Database, location: str, batch: int) -> tuple[int, ...]:
    """Move a batch of placements to the journal; return their ids, none if nothing is left."""
    with database.transaction() as cursor:
        cursor.execute(LOCK_STATES)
        if not _under_way(cursor, location):
            return ()
        cursor.execute(_TAKE, {"location": location, "batch": batch})
        return tuple(row[0] for row in cursor.fetchall())


def _finish(database: Database, location: str, *, lost: bool) -> None:
    """Delete the location's row, and its journal, unless a blob has lost its other copy."""
    values = parameters(location)
    remaining = Remaining(0, 0, 0)
    with database.transaction() as cursor:
        cursor.execute(LOCK_STATES)
        if not _under_way(cursor, location):
            return
        if lost:
            note_loss(cursor, location, None)
        else:
            cursor.execute(REMAINING, values)
            remaining = Remaining(*cursor.fetchall()[0])
        cursor.execute(_UNDO if remaining.blobs else _FINISH, values)
    if remaining.blobs:
        raise LocationNeeded(
            f"the other copies of {remaining.blobs} blobs ({remaining.bytes} bytes) were found to"
            f" be wrong while '{location}' was being removed; everything was put back, and they"
            f" are copied again: atoll drain {location} --wait"
        )


def _under_way(cursor: Any, location: str) -> bool:
    """Return whether a removal is under way; False if another command has completed it.

    Raises LocationNeeded if another command has undone it.
    """
    state = states_under_lock(cursor).get(location)
    if state not in (REMOVED, None):
        raise LocationNeeded(
            f"another command has undone the removal of '{location}', which is {state} again"
        )
    return state == REMOVED


def _require_another(cursor: Any, location: str) -> dict[str, str]:
    """Return the states of all locations; raise unless LOCATION is known and another one stays."""
    states = states_under_lock(cursor)
    require_known(location, states)
    others = [name for name, state in states.items() if name != location and state in KEPT]
    if not others:
        raise LocationNeeded(f"'{location}' is the last location; a registry needs one")
    return states


def _require_draining(cursor: Any, location: str) -> None:
    """Raise unless another location stays, and LOCATION is draining or being removed."""
    state = _require_another(cursor, location)[location]
    if state in KEPT:
        raise LocationNeeded(
            f"'{location}' is {state}, and only a drained location can be removed; drain it first:"
            f" atoll drain {location} --wait. If its store is gone for good:"
            f" atoll remove-location {location} --lost"
        )


def _prove(cursor: Any, location: str, trust: Trust) -> None:
    """Raise LocationNeeded unless every blob of LOCATION has a copy elsewhere that counts."""
    strict = _remaining(cursor, location, trust)
    if not strict:
        return
    remaining = _remaining(cursor, location, ANY_GOOD_COPY)
    if remaining.blobs:
        raise SoleCopies(
            f"{remaining.blobs} blobs ({remaining.bytes} bytes) are only at '{location}';"
            f" copy them first: atoll drain {location} --wait. If its store is gone for good:"
            f" atoll remove-location {location} --lost"
        )
    _require_no_uploads(location, remaining.uploads)
    reachable = _remaining(cursor, location, Trust(trust.unreachable))
    if reachable.blobs:
        raise LocationNeeded(
            f"{reachable.blobs} blobs ({reachable.bytes} bytes) of '{location}' have their other"
            f" copies only at {', '.join(trust.unreachable)}, which no site can read from: bring"
            f" that store back first, or remove '{location}' all the same with --yes-unverified"
        )
    raise LocationNeeded(
        f"{strict.blobs} blobs ({strict.bytes} bytes) of '{location}' have no other copy that was"
        " verified that recently: read them all with atoll verify --full, then run this again"
    )


def _require_no_uploads(location: str, uploads: int) -> None:
    if uploads:
        raise LocationNeeded(
            f"{uploads} uploads have bytes at '{location}';"
            f" wait until they end: atoll drain {location} --wait"
        )


def _remaining(cursor: Any, location: str, trust: Trust) -> Remaining:
    cursor.execute(REMAINING, parameters(location, trust))
    return Remaining(*cursor.fetchall()[0])
