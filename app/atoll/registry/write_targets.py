"""The locations at which one object is written, one after another, until a store accepts it."""

from __future__ import annotations

from collections.abc import Collection

from atoll.storage.errors import NoHealthyStore, StoreSilent, StoreUnavailable
from atoll.storage.locations import Locations

# How often a write returns to locations that fell silent. Each attempt lasts until the driver's
# time-out (10 s without progress), so that this bounds how long a client waits.
_RETURNS = 3


class WriteTargets:
    """Locations for one write, best first.

    A location that failed is not tried again, with one exception: where every allowed location is
    used up, the write returns to those that only fell silent and are still available. They are
    busy, and are waited for as long as their drivers wait.
    """

    def __init__(self, locations: Locations, excluded: Collection[str]) -> None:
        self._selection = locations.selection
        self._health = locations.health
        self._excluded = excluded
        self._failed: list[str] = []
        self._silent: list[str] = []
        self._returned: set[str] = set()
        self._returns = 0

    def choose(self) -> str:
        """Return the location to write to now. Raises NoHealthyStore."""
        try:
            return self._selection.to_write(self._excluded, self._failed)
        except NoHealthyStore:
            if not self._silent or self._returns == _RETURNS:
                raise
        self._returns += 1
        self._returned.update(self._silent)
        self._failed = [name for name in self._failed if name not in self._silent]
        self._silent = []
        return self._selection.to_write(self._excluded, self._failed)

    def fail(self, error: StoreUnavailable) -> None:
        """Note that the write to the location of ERROR failed."""
        self._failed.append(error.location)
        if isinstance(error, StoreSilent):
            self._silent.append(error.location)

    def elsewhere(self, location: str) -> bool:
        """Whether it is worth abandoning a hanging write to LOCATION for another location."""
        tried = (*self._failed, *self._returned, location)
        try:
            other = self._selection.to_write(self._excluded, tried)
        except NoHealthyStore:
            return False
        return not self._health.in_doubt(other)
