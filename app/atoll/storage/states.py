"""The state of each location: active, read-only, draining or removed.

Every process reads the states every few seconds, so that no process needs a restart to learn of a
change. Decisions that must be correct are made in the database, when a blob is placed.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial

from atoll.db.pool import Database, DatabaseUnavailable
from atoll.periodic import PeriodicThread, ThreadRegistry

log = logging.getLogger(__name__)

ACTIVE, READ_ONLY, DRAINING, REMOVED = "active", "read-only", "draining", "removed"
# States in which a location keeps its required copies; a draining one needs no new copies.
KEPT = (ACTIVE, READ_ONLY)

REFRESH_SECONDS = 2.0
# Longer than the time-outs of the database for all its hosts.
_SILENCE_SECONDS = 300.0


class LocationStates:
    """The states that this process read last; requests read them from memory."""

    def __init__(self) -> None:
        self._states: Mapping[str, str] | None = None

    def state(self, location: str) -> str:
        """Return the state of a location."""
        # Before the first refresh, such as at a boot without the database, all are usable.
        if self._states is None:
            return ACTIVE
        return self._states.get(location, REMOVED)

    def writable(self, location: str) -> bool:
        """Return whether the location accepts new blobs."""
        return self.state(location) == ACTIVE

    def readable(self, location: str) -> bool:
        """Return whether the location may be read from."""
        return self.state(location) != REMOVED

    def refresh(self, database: Database) -> None:
        """Read the states.

        Raises:
            DatabaseUnavailable: the states are unchanged.
        """
        found = dict(database.read("SELECT name, state FROM imagestoragelocation"))
        if self._states is not None and found != self._states:
            log.info("location states changed", extra={"states": found})
        self._states = found


def refresh_in_background(
    states: LocationStates, database: Database, registry: ThreadRegistry
) -> PeriodicThread:
    """Read the states now, and every few seconds in the background."""
    refresh_once(states, database)
    return registry.repeat(
        "location-states",
        REFRESH_SECONDS,
        partial(states.refresh, database),
        delay=REFRESH_SECONDS,
        silence_seconds=_SILENCE_SECONDS,
    )


def refresh_once(states: LocationStates, database: Database) -> None:
    """Read the states; if the database is unavailable, keep the last known ones."""
    try:
        states.refresh(database)
    except DatabaseUnavailable as error:
        log.warning("database unavailable", extra={"cause": str(error)})
    except Exception:
        # The table does not exist before the first migration. Afterwards this is a bug.
        log.exception("could not load location states")
