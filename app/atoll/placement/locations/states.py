"""The recorded state of each location, and the lock that serializes its changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg2.errors

from atoll.db.pool import Database
from atoll.placement.location_locks import LOCK_STATES, LOCK_STATES_SOON
from atoll.placement.locations.errors import ChangeRefused, LocationsBusy, LocationUnknown
from atoll.storage.states import ACTIVE, DRAINING, KEPT, REMOVED

_STATES = "SELECT name, state FROM imagestoragelocation ORDER BY id"

# A location that is being removed changes its state only by an undo.
_SET_STATE = """
UPDATE imagestoragelocation SET state = %(state)s WHERE name = %(location)s AND state <> 'removed'
RETURNING id
"""


class LocationTransaction:
    """Read and change states of locations in one transaction.

    Attributes:
        cursor: for the other statements of the transaction.
    """

    def __init__(self, cursor: Any) -> None:
        self.cursor = cursor

    def states(self) -> dict[str, str]:
        """Return the state of each location."""
        self.cursor.execute(_STATES)
        return dict(self.cursor.fetchall())

    def change_state(self, location: str, state: str) -> bool:
        """Set a state, under the states lock; return False if the location is being removed."""
        self.cursor.execute(_SET_STATE, {"location": location, "state": state})
        return bool(self.cursor.fetchall())


class LocationTable:
    """The locations as the database records them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def states(self) -> dict[str, str]:
        """Return the state of each location."""
        return dict(self._database.read(_STATES))

    def require_known(self, location: str) -> None:
        """Raise LocationUnknown if there is no such location."""
        require_known(location, self.states())

    def set_state(self, location: str, state: str) -> None:
        """Set the state of a location.

        Raises:
            LocationUnknown: there is no such location.
            ChangeRefused: it is being removed.
            LocationsBusy: another command held the states lock for several seconds.
        """
        with self.locked() as transaction:
            require_known(location, transaction.states())
            if not transaction.change_state(location, state):
                raise ChangeRefused(
                    f"'{location}' is being removed; `atoll remove-location {location} --undo`"
                    " first"
                )

    def set_draining(self, location: str, required: list[str]) -> list[str]:
        """Set a location to draining and return the required locations that remain.

        Args:
            required: the default locations.

        Raises:
            LocationUnknown: there is no such location.
            ChangeRefused: no required location would remain, or it is being removed.
            LocationsBusy: another command held the states lock for several seconds.
        """
        with self.locked() as transaction:
            states = transaction.states()
            require_known(location, states)
            if states[location] == REMOVED:
                raise ChangeRefused(
                    f"'{location}' is being removed; finish that with"
                    f" `atoll remove-location {location}`"
                )
            remaining = [
                name for name in required if name != location and states.get(name, ACTIVE) in KEPT
            ]
            if not remaining:
                raise ChangeRefused(
                    f"'{location}' is the only location where blobs must be; add another one first"
                    " (DISTRIBUTED_STORAGE_CONFIG, DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS)"
                )
            transaction.change_state(location, DRAINING)
        return remaining

    @contextmanager
    def transaction(self) -> Iterator[LocationTransaction]:
        """Open a transaction without the states lock."""
        with self._database.transaction() as cursor:
            yield LocationTransaction(cursor)

    @contextmanager
    def locked(self) -> Iterator[LocationTransaction]:
        """Open a transaction that holds the states lock.

        Raises:
            LocationsBusy: another command held the lock for several seconds.
        """
        with self._database.transaction() as cursor:
            try:
                cursor.execute(LOCK_STATES_SOON)
            except psycopg2.errors.LockNotAvailable as error:
                raise LocationsBusy(
                    "another command is removing a location or changing its state, and nothing was"
                    " changed; run this again when that command has ended"
                ) from error
            yield LocationTransaction(cursor)

    @contextmanager
    def locked_without_timeout(self) -> Iterator[LocationTransaction]:
        """Open a transaction that holds the states lock, however long that takes.

        For steps of a change that has begun.
        """
        with self._database.transaction() as cursor:
            cursor.execute(LOCK_STATES)
            yield LocationTransaction(cursor)


def require_known(location: str, states: Mapping[str, str]) -> None:
    """Raise LocationUnknown if there is no such location."""
    if location not in states:
        known = ", ".join(states) or "none"
        raise LocationUnknown(f"there is no location '{location}'; known are: {known}")
