"""One store away under load: what its site's people met, and how long their requests took."""

import time
from dataclasses import dataclass
from pathlib import Path

from access_log import Request, learned, requests
from commands import wait_until
from faults import StoreFault
from recovery import Registry, stay
from site_machine import SiteMachine
from traffic import Attempt

# Seconds: what a request waits for a connection to a store that is known to be away, and what it
# takes longer than usual where it meets a store that hangs (app/atoll/storage/abandonment.py).
_CONNECT, _LONGEST = 2, 4


@dataclass(frozen=True)
class StoreCase:
    """What failed and what was pushed.

    KNOWN is when the last process of the site knew (Unix time), USUAL the seconds that the slowest
    of all requests had taken before, REQUESTS those that ended later.
    """

    failures: list[Attempt]
    pushed: dict[str, str]
    known: float
    usual: float
    requests: list[Request]

    def waited_though_known(self) -> list[Request]:
        """Return the requests that came when the fault was known and waited for it all the same."""
        return [
            one
            for one in self.requests
            if one.began > self.known and one.seconds > self.usual + _CONNECT
        ]

    def waited_long(self) -> list[Request]:
        """Return the requests that did not continue elsewhere in time."""
        return [one for one in self.requests if one.seconds > self.usual + _LONGEST]


def lose_store(
    registry: Registry, fault: StoreFault, site: SiteMachine, folder: Path, seconds: float
) -> StoreCase:
    """Let the store that SITE prefers be away for so many SECONDS while people push and pull."""
    store = next(one for one in registry.lab.stores if one.location == site.location)
    start = time.time()
    with registry.traffic(folder, site) as traffic:
        wait_until("people are at work", traffic.works)
        began = time.time()
        with fault(store, site):
            away = time.time()
            stay(seconds)
            knew = learned(site, store.location, began)
            assert knew, f"{site.site.name} never learned that its store is away"
            # Whoever was sent to the store before may be busy with it for longer than that.
            wait_until("somebody pulls meanwhile", lambda: traffic.pulled(max(knew)) > 0)
        registry.wait_until_whole()
    seen = requests(site, start)
    usual = max(one.seconds for one in seen if one.began + one.seconds < began)
    met = [one for one in seen if one.began + one.seconds >= began]
    return StoreCase(traffic.failures(began, away), traffic.pushed, max(knew), usual, met)
