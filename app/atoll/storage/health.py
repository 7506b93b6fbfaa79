"""Which stores are alive, as far as this process knows.

It knows from probes in the background, and from what requests meet.

A failed request counts at once, a failed probe when the next one fails too. A store that was down
is up again only after it took an object, because a store may answer and yet not take any.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client import Gauge

from atoll.storage.errors import StoreError
from atoll.storage.interface import ObjectStore

log = logging.getLogger(__name__)

# Seconds between probes; sooner while a store is down or in doubt, so that it is used again soon.
PROBE_INTERVAL = 2.0
PROBE_INTERVAL_DOUBT = 0.5
_PROBE_FAILURES_TO_FALL = 2

UP = Gauge(
    "atoll_store_up", "1 if the store is alive", ["location"], multiprocess_mode="mostrecent"
)


@dataclass(frozen=True, slots=True)
class StoreState:
    """What is known of one store. `up` is None until the first probe has ended."""

    up: bool | None = None
    failed_probes: int = 0
    cause: str | None = None


class StoreHealth:
    """The states of all stores, in memory; asked by every request, so it never waits."""

    def __init__(self, locations: list[str]) -> None:
        self._states = {name: StoreState() for name in locations}
        self._lock = threading.Lock()

    def state(self, location: str) -> StoreState:
        """Return what is known of a location's store."""
        return self._states.get(location, StoreState(up=False, cause="not configured"))

    def is_up(self, location: str) -> bool:
        """Tell whether the store may be used; before the first probe it gets the benefit."""
        return self.state(location).up is not False

    def observe(self, location: str, failure: str | None) -> None:
        """Learn from a request: FAILURE is None where the store served it."""
        if failure is not None:
            self._change(location, StoreState(False, _PROBE_FAILURES_TO_FALL, failure))

    def probed(self, location: str, failure: str | None) -> None:
        """Learn from a probe."""
        if failure is None:
            self._change(location, StoreState(up=True))
            return
        failures = self.state(location).failed_probes + 1
        fallen = failures >= _PROBE_FAILURES_TO_FALL or self.state(location).up is None
        up = False if fallen else self.state(location).up
        self._change(location, StoreState(up, failures, failure))

    def _change(self, location: str, new: StoreState) -> None:
        with self._lock:
            old = self._states[location]
            self._states[location] = new
        UP.labels(location).set(1 if new.up else 0)
        if old.up is not new.up:
            if new.up:
                log.info("store is up", extra={"location": location})
            else:
                log.error("store is down", extra={"location": location, "cause": new.cause})


class Prober:
    """Probes every store, each in a thread of its own: a hung one delays no other's probe."""

    def __init__(
        self,
        stores: Mapping[str, ObjectStore],
        health: StoreHealth,
    ) -> None:
        self._stores = stores
        self._health = health
        self._stop = threading.Event()

    def start(self) -> None:
        """Start probing; the threads end with the process, or after `stop`."""
        for location, store in self._stores.items():
            threading.Thread(
                target=self._probe_for_ever, args=(store,), name=f"probe-{location}", daemon=True
            ).start()

    def stop(self) -> None:
        """Probe no more."""
        self._stop.set()

    def _probe_for_ever(self, store: ObjectStore) -> None:
        while not self._stop.is_set():
            self.probe_once(store)
            state = self._health.state(store.location)
            settled = state.up is True and state.failed_probes == 0
            self._stop.wait(PROBE_INTERVAL if settled else PROBE_INTERVAL_DOUBT)

    def probe_once(self, store: ObjectStore) -> None:
        """Probe one store and note the result; for a store not known as up, by writing."""
        write = self._health.state(store.location).up is not True
        try:
            store.probe(write=write)
        except StoreError as error:
            self._health.probed(store.location, getattr(error, "cause", str(error)))
        else:
            self._health.probed(store.location, None)
