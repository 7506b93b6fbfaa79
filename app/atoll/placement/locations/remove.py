"""Remove a location: prove that every blob has another copy, mark it, delete its placements.

A removal counts copies at other locations, so nothing that reduces them may run beside the proof:

- Other removals and state changes wait for the states lock, which is held from before the proof
  until the mark is committed. Two removals therefore never count on each other's copies: the second
  one sees the first one's mark. Undoing and each later step take the lock as well, so an undo never
  meets a batch that is not committed.
- Only a draining location is removed; that of a lost store is set to draining first. Deleting
  over-replicated copies (`over_replication`) relies on copies at locations that are not draining,
  and locks their rows: whatever relied on this location was committed before it began to drain, and
  is visible to the proof. A copy that is deleted during the proof has another one at a location
  that is neither this one nor about to drain, so the blob is still safe when the mark is committed.
- Nothing is placed at the location from before the proof until the mark: that needs the location's
  own lock, which the removal holds. A push that cannot get it writes to another location, so it
  does not wait for the proof. Blobs that no repository uses are not part of the proof; a push that
  makes one used again places it, and that is at another location.
- A second proof, over the journal, runs just before the location's row is deleted. It finds blobs
  whose copies elsewhere were quarantined since the first one, and those that a manifest has named
  since then although their repository had given them up. The removal then restores everything.

Each batch of placements moves to a journal, from which all of them can be restored until the
location's own row is deleted; an interrupted removal resumes where it stopped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from atoll.placement.location_locks import LOCK_LOCATION
from atoll.placement.locations.errors import (
    ChangeRefused,
    LocationUnknown,
    LossNotAccepted,
    SoleCopiesRemain,
)
from atoll.placement.locations.lost import record_loss
from atoll.placement.locations.sole_copies import (
    ANY_GOOD_COPY,
    OPEN_UPLOADS,
    REMAINING,
    Remaining,
    SafeCopies,
    parameters,
)
from atoll.placement.locations.states import LocationTable, LocationTransaction, require_known
from atoll.storage.states import DRAINING, KEPT, REMOVED

# Placements that one transaction moves to the journal.
BATCH = 1000

# Mark a location as removed, and record the state that an undo restores.
_MARK = """
WITH marked AS (
    INSERT INTO locationremoval (location_id, state_before)
    SELECT id, %(state_before)s FROM imagestoragelocation
    WHERE name = %(location)s AND state <> 'removed'
)
UPDATE imagestoragelocation SET state = 'removed' WHERE name = %(location)s
"""

# Delete the replication tasks of a location and the uploads with bytes there. Tasks that are locked
# now, or written by a statement older than the mark, are deleted by the last step.
_CANCEL_WORK = """
DELETE FROM replicationtask WHERE id IN (
    SELECT t.id FROM replicationtask t JOIN imagestoragelocation l ON l.id = t.location_id
    WHERE l.name = %(location)s ORDER BY t.id FOR UPDATE OF t SKIP LOCKED);
WITH cancelled AS (
    DELETE FROM blobupload
    WHERE (first_location = %(location)s
           OR chunks @> jsonb_build_array(jsonb_build_object('location', %(location)s)))
      AND (%(lost)s OR ended
           OR changed_at < clock_timestamp() - make_interval(mins => %(idle_minutes)s))
    RETURNING uuid
)
SELECT count(*) FROM cancelled
"""

_COUNT = """
SELECT count(*) FROM imagestorageplacement p JOIN imagestoragelocation l ON l.id = p.location_id
WHERE l.name = %(location)s
"""

# Move a batch of placements to the journal.
_MOVE_BATCH = """
WITH moved AS (
    DELETE FROM imagestorageplacement WHERE id IN (
        SELECT p.id FROM imagestorageplacement p
        JOIN imagestoragelocation l ON l.id = p.location_id
        WHERE l.name = %(location)s AND l.state = 'removed' ORDER BY p.id LIMIT %(batch)s)
    RETURNING id, location_id, storage_id, state, verified_at
), journaled AS (
    INSERT INTO removedplacement (location_id, storage_id, state, verified_at)
    SELECT location_id, storage_id, state, verified_at FROM moved
)
SELECT id FROM moved ORDER BY id
"""

# Delete a location with its journal. The lock on the row waits for statements that have just
# written a task for the location, so that these tasks are visible and deleted.
_FINISH = """
SELECT id FROM imagestoragelocation WHERE name = %(location)s FOR UPDATE;
DELETE FROM replicationtask t USING imagestoragelocation l
WHERE l.id = t.location_id AND l.name = %(location)s AND l.state = 'removed';
DELETE FROM imagestoragelocation WHERE name = %(location)s AND state = 'removed'
"""

# Restore placements, state and records of lost blobs from before the removal.
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
class RemovalStep:
    """The result of one step of a removal.

    Attributes:
        uploads: uploads that were cancelled; only the first step cancels any.
        placements: ids of the placements that were deleted.
    """

    uploads: int = 0
    placements: tuple[int, ...] = ()


class Removal:
    """Remove locations, and undo removals that have not ended.

    Args:
        batch: placements that one transaction moves to the journal.
    """

    def __init__(self, table: LocationTable, *, batch: int = BATCH) -> None:
        self._table = table
        self._batch = batch

    def check(self, location: str, safe: SafeCopies = ANY_GOOD_COPY) -> int:
        """Return how many placements a removal would delete; nothing is changed.

        Args:
            safe: the copies at other locations that count.

        Raises:
            LocationUnknown: there is no such location.
            ChangeRefused: it cannot be removed.
        """
        with self._table.transaction() as transaction:
            _require_draining(transaction, location)
            self._prove(transaction, location, safe)
            transaction.cursor.execute(_COUNT, {"location": location})
            return int(transaction.cursor.fetchall()[0][0])

    def check_lost(self, location: str) -> None:
        """Check that a location may be removed whatever is lost with it.

        Raises:
            LocationUnknown: there is no such location.
            ChangeRefused: no other location would remain.
        """
        with self._table.transaction() as transaction:
            _require_another(transaction, location)

    def steps(
        self,
        location: str,
        *,
        accepted_loss: int | None = None,
        safe: SafeCopies = ANY_GOOD_COPY,
    ) -> Iterator[RemovalStep]:
        """Remove a location step by step, each in a transaction of its own.

        Args:
            accepted_loss: the store is lost, and exactly so many blobs with it; the location need
                not be draining. None for a removal that loses nothing.
            safe: the copies at other locations that count; ignored for a lost store.

        Yields:
            The result of each step.

        Raises:
            LocationUnknown: there is no such location.
            ChangeRefused: it cannot be removed and nothing was changed, or everything was restored:
                another command undid the removal, or a blob lost its other copy meanwhile.
            LossNotAccepted: another number of blobs would be lost. Nothing was changed.
            DatabaseUnavailable: the removal can be resumed or undone. The location of a lost store
                may be draining.
        """
        if accepted_loss is None:
            self._mark(location, safe)
        else:
            self._mark_lost(location, accepted_loss)
        lost = accepted_loss is not None
        yield RemovalStep(uploads=self._cancel_work(location, lost=lost))
        while moved := self._move_batch(location):
            yield RemovalStep(placements=moved)
        self._finish(location, lost=lost)

    def undo(self, location: str) -> None:
        """Restore the placements and the state of a location whose removal has not ended.

        Raises:
            LocationUnknown: no removal of the location is under way.
            LocationsBusy: another command is changing the locations.
        """
        with self._table.locked() as transaction:
            transaction.cursor.execute(_UNDO, {"location": location})
            if not transaction.cursor.fetchall():
                raise LocationUnknown(f"no removal of '{location}' is under way")

    def _mark(self, location: str, safe: SafeCopies) -> None:
        with self._table.locked() as transaction:
            cursor = transaction.cursor
            _require_draining(transaction, location)
            # Before the lock: while it is held, these uploads could not end where they are.
            cursor.execute(OPEN_UPLOADS, parameters(location))
            _require_no_uploads(location, int(cursor.fetchall()[0][0]))
            cursor.execute(LOCK_LOCATION, {"location": location})
            self._prove(transaction, location, safe)
            cursor.execute(_MARK, {"location": location, "state_before": DRAINING})

    def _mark_lost(self, location: str, accepted: int) -> None:
        before = self._drain_lost(location)
        try:
            with self._table.locked() as transaction:
                cursor = transaction.cursor
                _require_draining(transaction, location)
                cursor.execute(LOCK_LOCATION, {"location": location})
                record_loss(cursor, location, accepted)
                cursor.execute(_MARK, {"location": location, "state_before": before})
        except (ChangeRefused, LossNotAccepted):
            if before in KEPT:
                self._restore_state(location, before)
            raise

    def _drain_lost(self, location: str) -> str:
        """Set the location of a lost store to draining, and return its state before that.

        In a transaction of its own, so that the proof sees whatever relied on the location.
        """
        with self._table.locked() as transaction:
            before = _require_another(transaction, location)[location]
            if before in KEPT:
                transaction.change_state(location, DRAINING)
        return before

    def _restore_state(self, location: str, state: str) -> None:
        with self._table.locked_without_timeout() as transaction:
            if transaction.states().get(location) == DRAINING:
                transaction.change_state(location, state)

    def _cancel_work(self, location: str, *, lost: bool) -> int:
        """Delete pending copies to the location, and uploads with bytes there.

        An upload in progress, by a process that noticed the drain too late, can still read its
        bytes and ends at another location, unless the store is lost.

        Returns:
            The number of deleted uploads.
        """
        with self._table.locked_without_timeout() as transaction:
            if not _under_way(transaction, location):
                return 0
            transaction.cursor.execute(_CANCEL_WORK, {**parameters(location), "lost": lost})
            return int(transaction.cursor.fetchall()[0][0])

    def _move_batch(self, location: str) -> tuple[int, ...]:
        """Move a batch of placements to the journal; return their ids, none at the end."""
        with self._table.locked_without_timeout() as transaction:
            if not _under_way(transaction, location):
                return ()
            cursor = transaction.cursor
            cursor.execute(_MOVE_BATCH, {"location": location, "batch": self._batch})
            return tuple(row[0] for row in cursor.fetchall())

    def _finish(self, location: str, *, lost: bool) -> None:
        """Delete the location and its journal, or restore all if a blob lost its other copy."""
        values = parameters(location)
        remaining = Remaining(0, 0, 0)
        with self._table.locked_without_timeout() as transaction:
            if not _under_way(transaction, location):
                return
            if lost:
                record_loss(transaction.cursor, location, None)
            else:
                remaining = _remaining(transaction, location, ANY_GOOD_COPY)
            transaction.cursor.execute(_UNDO if remaining.blobs else _FINISH, values)
        if remaining.blobs:
            raise ChangeRefused(
                f"the other copies of {remaining.blobs} blobs ({remaining.bytes} bytes) were found"
                f" to be wrong while '{location}' was being removed; everything was put back, and"
                f" they are copied again: atoll drain {location} --wait"
            )

    @staticmethod
    def _prove(transaction: LocationTransaction, location: str, safe: SafeCopies) -> None:
        """Raise ChangeRefused unless every blob of the location has a safe copy elsewhere."""
        strict = _remaining(transaction, location, safe)
        if not strict:
            return
        remaining = _remaining(transaction, location, ANY_GOOD_COPY)
        if remaining.blobs:
            raise SoleCopiesRemain(
                f"{remaining.blobs} blobs ({remaining.bytes} bytes) are only at '{location}';"
                f" copy them first: atoll drain {location} --wait. If its store is gone for good:"
                f" atoll remove-location {location} --lost"
            )
        _require_no_uploads(location, remaining.uploads)
        reachable = _remaining(transaction, location, SafeCopies(safe.unreachable))
        if reachable.blobs:
            raise ChangeRefused(
                f"{reachable.blobs} blobs ({reachable.bytes} bytes) of '{location}' have their"
                f" other copies only at {', '.join(safe.unreachable)}, which no site can read from:"
                f" bring that store back first, or remove '{location}' all the same with"
                " --yes-unverified"
            )
        raise ChangeRefused(
            f"{strict.blobs} blobs ({strict.bytes} bytes) of '{location}' have no other copy that"
            " was verified that recently: read them all with atoll verify --full, then run this"
            " again"
        )


def _under_way(transaction: LocationTransaction, location: str) -> bool:
    """Return whether a removal is under way; False if another command has completed it.

    Raises ChangeRefused if another command has undone it.
    """
    state = transaction.states().get(location)
    if state not in (REMOVED, None):
        raise ChangeRefused(
            f"another command has undone the removal of '{location}', which is {state} again"
        )
    return state == REMOVED


def _require_another(transaction: LocationTransaction, location: str) -> dict[str, str]:
    """Return all states; raise unless the location is known and another one remains."""
    states = transaction.states()
    require_known(location, states)
    others = [name for name, state in states.items() if name != location and state in KEPT]
    if not others:
        raise ChangeRefused(f"'{location}' is the last location; a registry needs one")
    return states


def _require_draining(transaction: LocationTransaction, location: str) -> None:
    """Raise unless another location remains, and this one is draining or being removed."""
    state = _require_another(transaction, location)[location]
    if state in KEPT:
        raise ChangeRefused(
            f"'{location}' is {state}, and only a drained location can be removed; drain it first:"
            f" atoll drain {location} --wait. If its store is gone for good:"
            f" atoll remove-location {location} --lost"
        )


def _require_no_uploads(location: str, uploads: int) -> None:
    if uploads:
        raise ChangeRefused(
            f"{uploads} uploads have bytes at '{location}';"
            f" wait until they end: atoll drain {location} --wait"
        )


def _remaining(transaction: LocationTransaction, location: str, safe: SafeCopies) -> Remaining:
    transaction.cursor.execute(REMAINING, parameters(location, safe))
    return Remaining(*transaction.cursor.fetchall()[0])
