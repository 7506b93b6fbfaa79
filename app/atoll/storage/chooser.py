"""Which store serves: the site's preference, where the blob is, who is alive and in service."""

from __future__ import annotations

from collections.abc import Collection

from atoll.storage.errors import NoAllowedStore, NoHealthyStore
from atoll.storage.health import StoreHealth
from atoll.storage.states import LocationStates


class Chooser:
    """Orders locations for one site. `preference` is nearest first; others come after it."""

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
        """Return where to read from, best first: good placements at living stores, nearest first.

        Those that did not answer the last probe come last: who is sent to a dead one does not come
        back. A placement at a location that is not in the bundle (any more), or is removed, is left
        out. Raises NoHealthyStore if nothing remains.
        """
        found = [
            name
            for name in self._order
            if name in placements and self._health.is_up(name) and self._states.readable(name)
        ]
        if not found:
            raise NoHealthyStore(sorted(placements))
        return sorted(found, key=self._health.in_doubt)

    def to_write(self, excluded: Collection[str] = ()) -> str:
        """Return where to write: the nearest living store that takes new blobs.

        What is written away from home is replicated home, as home is a required location.
        EXCLUDED are locations that must not be written to, whatever is alive. Raises NoHealthyStore
        if there is none; NoAllowedStore where only excluded ones would do.
        """
        usable = [
            name
            for name in self._order
            if self._health.takes_objects(name) and self._states.writable(name)
        ]
        for name in usable:
            if name not in excluded:
                return name
        if usable:
            raise NoAllowedStore([name for name in self._order if name not in excluded])
        raise NoHealthyStore(self._order)
