"""Which stores are alive, as far as this process knows.

It knows from probes in the background, and from what requests meet.

A failed request counts at once, a failed probe when the next one fails too. A store that was down
is up again only after it took an object, because a store may answer and yet not take any: one that
is full, say, is still read from.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from prometheus_client import Gauge

from atoll.storage.errors import StoreError
from atoll.storage.interface import ObjectStore

log = logging.getLogger(__name__)

# Seconds between probes; sooner while a store is down or in doubt, so that it is used again soon.
PROBE_INTERVAL = 2.0
PROBE_INTERVAL_DOUBT = 0.5
_PROBE_FAILURES_TO_FALL = 2
# Seconds after which a probe that has no answer yet makes its store doubtful; most take some ms.
_PROBE_PATIENCE = 1.0

UP = Gauge(
    "atoll_store_up", "1 if the store is alive", ["location"], multiprocess_mode="mostrecent"
)


@dataclass(frozen=True, slots=True)
class StoreState:
    """What is known of one store: `up`, that it serves, is None until the first probe has ended."""

    up: bool | None = None
    failed_probes: int = 0
    cause: str | None = None
    # It serves what it has, and takes nothing.
    read_only: bool = False

    @property
    def whole(self) -> bool:
        """Tell whether it was proven to serve and to take objects."""
        return self.up is True and not self.read_only


class StoreHealth:
    """The states of all stores, in memory; asked by every request, so it never waits."""

    def __init__(
        self, locations: list[str], *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._states = {name: StoreState() for name in locations}
        self._probes: dict[str, float] = {}
        self._monotonic = monotonic
        self._lock = threading.Lock()

    def state(self, location: str) -> StoreState:
        """Return what is known of a location's store."""
        return self._states.get(location, StoreState(up=False, cause="not configured"))

    def is_up(self, location: str) -> bool:
        """Tell whether the store may be read; before the first probe it gets the benefit."""
        return self.state(location).up is not False

    def takes_objects(self, location: str) -> bool:
        """Tell whether the store may be written to; before the first probe it gets the benefit."""
        return self.is_up(location) and not self.state(location).read_only

    def in_doubt(self, location: str) -> bool:
        """Tell whether the last probe failed, or has been waiting for an answer for long."""
        began = self._probes.get(location)
        waiting = began is not None and self._monotonic() - began > _PROBE_PATIENCE
        return waiting or self.state(location).failed_probes > 0

    def observe(self, location: str, failure: str | None, *, full: bool = False) -> None:
        """Learn from a request: FAILURE is None where the store served it, FULL if it has no room.

        What is full is not down: it answered.
        """
        if failure is None:
            return
        if full and self.is_up(location):
            self._change(location, StoreState(up=True, cause=failure, read_only=True))
        else:
            self._change(location, StoreState(False, _PROBE_FAILURES_TO_FALL, failure))

    def probing(self, location: str) -> None:
        """Note that a probe begins."""
        self._probes[location] = self._monotonic()

    def probed(self, location: str, failure: str | None, *, readable: bool = False) -> None:
        """Learn from a probe, whose end this is; READABLE if only writing failed."""
        self._probes.pop(location, None)
        if failure is None:
            self._change(location, StoreState(up=True))
            return
        if readable:
            self._change(location, StoreState(up=True, cause=failure, read_only=True))
            return
        old = self.state(location)
        failures = old.failed_probes + 1
        fallen = failures >= _PROBE_FAILURES_TO_FALL or old.up is None
        up = False if fallen else old.up
        self._change(location, StoreState(up, failures, failure, old.read_only))

    def _change(self, location: str, new: StoreState) -> None:
        with self._lock:
            old = self._states[location]
            self._states[location] = new
        UP.labels(location).set(1 if new.whole else 0)
        if (old.up, old.read_only) == (new.up, new.read_only):
            return
        if new.whole:
            log.info("store is up", extra={"location": location})
        elif new.up:
            fields = {"location": location, "cause": new.cause}
            log.error("store takes no objects and is only read from", extra=fields)
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
        self._probed = {location: threading.Event() for location in stores}

    def start(self) -> None:
        """Start probing; the threads end with the process, or after `stop`."""
        for location, store in self._stores.items():
            threading.Thread(
                target=self._probe_for_ever, args=(store,), name=f"probe-{location}", daemon=True
            ).start()

    def wait_for_first(self, seconds: float) -> None:
        """Wait until each store was probed once, for at most SECONDS."""
        deadline = time.monotonic() + seconds
        for probed in self._probed.values():
            probed.wait(max(0.0, deadline - time.monotonic()))

    def stop(self) -> None:
        """Probe no more."""
        self._stop.set()

    def _probe_for_ever(self, store: ObjectStore) -> None:
        while not self._stop.is_set():
            self.probe_once(store)
            self._probed[store.location].set()
            state = self._health.state(store.location)
            settled = state.whole and state.failed_probes == 0
            self._stop.wait(PROBE_INTERVAL if settled else PROBE_INTERVAL_DOUBT)

    def probe_once(self, store: ObjectStore) -> None:
        """Probe one store and note the result; for a store not known as whole, by writing."""
        write = not self._health.state(store.location).whole
        self._health.probing(store.location)
        try:
            store.probe(write=write)
        except StoreError as error:
            cause = getattr(error, "cause", str(error))
            readable = write and _can_be_read(store)
            self._health.probed(store.location, cause, readable=readable)
        else:
            self._health.probed(store.location, None)


def _can_be_read(store: ObjectStore) -> bool:
    try:
        store.probe(write=False)
    except StoreError:
        return False
    return True
