"""The failure of a store under load: failed operations and the durations of requests."""

import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from access_log import Request, detections, requests
from commands import wait_until
from faults import StoreFault
from recovery import Registry, sustain
from site_machine import SiteMachine
from traffic import Attempt

# Seconds by which a request may exceed the usual duration: after the store was marked unavailable,
# when no connection to it may be awaited, and before (app/atoll/storage/abandonment.py).
_CONNECT, _LONGEST = 2, 4


@dataclass(frozen=True)
class StoreCase:
    """The result of a failure of a store.

    Attributes:
        failures: The failed operations.
        pushed: The digests of the pushed images, by name.
        detected: When the last process of the site marked the store as unavailable (Unix time).
        usual: The longest duration of a request before the failure, in seconds.
        requests: The requests that ended after the failure.
    """

    failures: list[Attempt]
    pushed: dict[str, str]
    detected: float
    usual: float
    requests: list[Request]

    def delayed_after_detection(self) -> list[Request]:
        """Return the requests that were delayed although the failure had been detected."""
        return [
            one
            for one in self.requests
            if one.began > self.detected and one.seconds > self.usual + _CONNECT
        ]

    def delayed(self) -> list[Request]:
        """Return the requests that did not continue at the other store in time."""
        return [one for one in self.requests if one.seconds > self.usual + _LONGEST]


def run_with_store_fault(
    registry: Registry, fault: StoreFault, site: SiteMachine, folder: Path, seconds: float
) -> StoreCase:
    """Cause a fault of the preferred store of a site for some seconds under load."""
    store = next(one for one in registry.lab.stores if one.location == site.location)
    # A store that is still unavailable cannot be detected as unavailable.
    wait_until("no site reports a problem", lambda: _status(site).returncode == 0)
    start = time.time()
    with registry.traffic(folder, site) as traffic:
        wait_until("clients push and pull", traffic.works)
        began = time.time()
        with fault(store, site):
            failed = time.time()
            sustain(seconds)
            detected = detections(site, store.location, began)
            assert detected, f"{site.site.name} did not detect the fault; {_status(site).stdout}"
            # Clients that were redirected to the store before may hang for longer than the fault.
            wait_until("a client pulls meanwhile", lambda: traffic.pulled(max(detected)) > 0)
        registry.wait_until_healthy()
    seen = requests(site, start)
    usual = max(one.seconds for one in seen if one.began + one.seconds < began)
    later = [one for one in seen if one.began + one.seconds >= began]
    return StoreCase(traffic.failures(began, failed), traffic.pushed, max(detected), usual, later)


def _status(site: SiteMachine) -> "subprocess.CompletedProcess[str]":
    return site.attempt("podman exec atoll-registry atoll status")
