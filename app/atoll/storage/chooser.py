"""Which store serves: the site's preference, where the blob is, and who is alive."""

from __future__ import annotations

from collections.abc import Collection

from atoll.storage.errors import NoHealthyStore
from atoll.storage.health import StoreHealth


class Chooser:
    """Orders locations for one site. `preference` is nearest first; others come after it."""

    def __init__(self, preference: list[str], locations: list[str], health: StoreHealth) -> None:
        others = [name for name in locations if name not in preference]
        self._order = [*preference, *others]
        self._health = health

    def to_read(self, placements: Collection[str], suspects: Collection[str] = ()) -> list[str]:
        """Return where to read from, best first: placements at living stores, nearest first.

        SUSPECTS, the placements that proved wrong once, come last. A placement at a location that
        is not in the bundle (any more) is left out. Raises NoHealthyStore if nothing remains.
        """
        alive = [name for name in self._order if self._health.is_up(name)]
        found = [name for name in alive if name in placements]
        found += [name for name in alive if name in suspects and name not in placements]
        if not found:
            raise NoHealthyStore(sorted({*placements, *suspects}))
        return found

    def to_write(self) -> str:
        """Return where to write: the nearest living store. Raises NoHealthyStore if all are down.

        What is written away from home is replicated home, as home is a required location.
        """
        for name in self._order:
            if self._health.is_up(name):
                return name
        raise NoHealthyStore(self._order)
