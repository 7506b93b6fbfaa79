"""Select the stores to read from and to write to."""

from __future__ import annotations

from collections.abc import Collection

from atoll.storage.errors import NoAllowedStore, NoHealthyStore
from atoll.storage.health import StoreHealth
from atoll.storage.states import LocationStates


class StoreSelection:
    """Orders locations by the site's preference, their health and their state.

    Locations outside the preference, which is nearest first, come last.
    """

    def __init__(
        self,
        preference: list[str],
        locations: list[str],
        health: StoreHealth,
        states: LocationStates,
    ) -> None:
        others = [name for name in locations if name not in preference]
        self._order = [*preference, *others]
        self._health = health
        self._states = states

    def to_read(self, placements: Collection[str]) -> list[str]:
        """Return the locations to read from: placements at available stores, nearest first.

        Stores in doubt come last, because a client that is redirected to a hanging store does not
        return. Locations that are removed or not in the bundle are left out.

        Raises:
            NoHealthyStore: no placement is left.
        """
        found = [
            name
            for name in self._order
            if name in placements and self._health.is_up(name) and self._states.readable(name)
        ]
        if not found:
            raise NoHealthyStore(sorted(placements))
        found.sort(key=self._health.sort_key)
        self._health.record_use(found[0])
        return found

    def sources(self, target: str) -> list[str]:
        """Return the available locations that blobs can be copied from to `target`."""
        return [
            name
            for name in self._order
            if name != target and self._health.is_up(name) and self._states.readable(name)
        ]

    def to_write(self, excluded: Collection[str] = (), tried: Collection[str] = ()) -> str:
        """Return the location to write to: the nearest available store that accepts new blobs.

        A store in doubt is selected only if there is no other. Blobs that are written to another
        location are replicated to the preferred one, which is a required location.

        Args:
            excluded: locations that must not be written to.
            tried: locations where this write has failed already.

        Raises:
            NoAllowedStore: only excluded locations are left.
            NoHealthyStore: no location is left.
        """
        usable = [
            name
            for name in self._order
            if name not in tried and self._health.is_writable(name) and self._states.writable(name)
        ]
        allowed = [name for name in usable if name not in excluded]
        if allowed:
            chosen = min(allowed, key=self._health.sort_key)
            self._health.record_use(chosen)
            return chosen
        if usable:
            raise NoAllowedStore([name for name in self._order if name not in excluded])
        raise NoHealthyStore(self._order)
