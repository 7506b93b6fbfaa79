"""Choice of the location for a write, and of another one after a failure."""

from __future__ import annotations

from collections.abc import Collection

from atoll.storage.errors import NoHealthyStore, StoreTimeout, StoreUnavailable
from atoll.storage.locations import Locations

# How often a write retries locations that stopped responding. Each retry lasts until the driver's
# time-out (10 s without progress), so this bounds the time that a client waits.
_RETRIES = 3


class WriteTargets:
    """The locations for one write, best first.

    A location that failed is not tried again, with one exception: after all permitted locations
    have failed, the write retries those that only stopped responding and are still available. They
    are busy, and the retry lasts up to the time-out of their drivers.
    """

    def __init__(self, locations: Locations, excluded: Collection[str]) -> None:
        self._selection = locations.selection
        self._health = locations.health
        self._excluded = excluded
        self._failed: list[str] = []
        self._silent: list[str] = []
        self._retried: set[str] = set()
        self._retries = 0

    def choose(self) -> str:
        """Return the location for the next attempt.

        Raises:
            NoHealthyStore: No permitted location is left.
        """
        try:
            return self._selection.to_write(self._excluded, self._failed)
        except NoHealthyStore:
            if not self._silent or self._retries == _RETRIES:
                raise
        self._retries += 1
        self._retried.update(self._silent)
        self._failed = [name for name in self._failed if name not in self._silent]
        self._silent = []
        return self._selection.to_write(self._excluded, self._failed)

    def fail(self, error: StoreUnavailable) -> None:
        """Record that the write to the error's location failed."""
        self._failed.append(error.location)
        if isinstance(error, StoreTimeout):
            self._silent.append(error.location)

    def has_alternative(self, location: str) -> bool:
        """Return whether a hanging write to a location should be abandoned for another one."""
        tried = (*self._failed, *self._retried, location)
        try:
            other = self._selection.to_write(self._excluded, tried)
        except NoHealthyStore:
            return False
        return not self._health.in_doubt(other)
