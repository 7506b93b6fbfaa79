"""What the database says of each location: active, read-only, draining or removed.

Every process asks again every few seconds, so that no process needs a restart to learn of a change.
What matters for correctness is decided in the database itself, when a blob is placed.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping

from atoll.db.pool import Database, DatabaseUnavailable

log = logging.getLogger(__name__)

ACTIVE, READ_ONLY, DRAINING, REMOVED = "active", "read-only", "draining", "removed"
# Where a blob must be if the bundle says so. What is drained need not get anything any more.
KEPT = (ACTIVE, READ_ONLY)

# Seconds between two looks.
LOOK_INTERVAL = 2.0


class LocationStates:
    """The states as this process saw them last; asked by every request, so it never waits."""

    def __init__(self) -> None:
        self._states: Mapping[str, str] | None = None

    def writable(self, location: str) -> bool:
        """Tell whether new blobs may be written there."""
        return self._state(location) == ACTIVE

    def readable(self, location: str) -> bool:
        """Tell whether blobs may be read from there."""
        return self._state(location) != REMOVED

    def look(self, database: Database) -> None:
        """Learn the states. Raises DatabaseUnavailable, and keeps what was known before."""
        found = dict(database.read("SELECT name, state FROM imagestoragelocation"))
        if self._states is not None and found != self._states:
            log.info("locations changed", extra={"states": found})
        self._states = found

    def _state(self, location: str) -> str:
        # Before the first look, as at a boot without the database, nothing speaks against it.
        if self._states is None:
            return ACTIVE
        return self._states.get(location, REMOVED)


def keep_looking(states: LocationStates, database: Database) -> threading.Event:
    """Look now, and again every few seconds in the background, until the event is set."""
    look_once(states, database)
    stop = threading.Event()

    def look_for_ever() -> None:
        while not stop.wait(LOOK_INTERVAL):
            look_once(states, database)

    threading.Thread(target=look_for_ever, name="location-states", daemon=True).start()
    return stop


def look_once(states: LocationStates, database: Database) -> None:
    """Look, and leave things as they are if that is not possible now."""
    try:
        states.look(database)
    except DatabaseUnavailable as error:
        log.warning("PostgreSQL is away", extra={"cause": str(error)})
    except Exception:
        # Before the first migration there is no table; afterwards this is a bug to be told.
        log.exception("states not learnt, for a reason that nobody thought of")
