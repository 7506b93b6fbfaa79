"""Health of the stores, as far as this process knows: from background probes and from requests.

A store is *unavailable* after it refused a connection or failed probes, never because of one
request: an error about one object, or silence about it, only puts the store *in doubt* and has it
probed at once. A store in doubt is used where there is no other choice, and settled by the probe.

A store that was unavailable is used again only after it accepted an object, because a store may
answer without accepting any: a full one can still be read.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from prometheus_client import Gauge

from atoll.storage.errors import (
    NoAnswer,
    StoreError,
    StoreFull,
    StoreUnavailable,
    StoreUnreachable,
)
from atoll.storage.interface import ObjectStore

log = logging.getLogger(__name__)

# Seconds between probes; fewer while a store is unavailable or in doubt, to use it again soon.
PROBE_INTERVAL = 2.0
PROBE_INTERVAL_DOUBT = 0.5
# Seconds between probes that requests ask for, so that a client cannot cause any number of them.
_PROBE_PAUSE = 0.1
_PROBE_FAILURES_TO_FALL = 2
# Seconds after which a probe without an answer puts its store in doubt; most take milliseconds.
_PROBE_PATIENCE = 1.0
# Seconds for which a successful probe outweighs errors about single objects.
_PROOF_SECONDS = 1.0

UP = Gauge(
    "atoll_store_up", "1 if the store is alive", ["location"], multiprocess_mode="mostrecent"
)


@dataclass(frozen=True, slots=True)
class StoreState:
    """State of one store; `up`, whether it serves, is None until the first probe has ended."""

    up: bool | None = None
    failed_probes: int = 0
    cause: str | None = None
    # It serves its objects and accepts none.
    read_only: bool = False

    @property
    def whole(self) -> bool:
        """Whether the store was proven to serve and to accept objects."""
        return self.up is True and not self.read_only


@dataclass(frozen=True, slots=True)
class _Doubt:
    """A reason to distrust a store until a probe that began later has ended."""

    cause: str
    since: float
    # Only an accepted object settles it.
    write: bool


@dataclass(frozen=True, slots=True)
class _Probe:
    began: float
    write: bool


class StoreHealth:
    """The states of all stores, in memory; every request reads them, so nothing here waits."""

    def __init__(
        self, locations: list[str], *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._states = {name: StoreState() for name in locations}
        self._doubts: dict[str, _Doubt] = {}
        self._probes: dict[str, _Probe] = {}
        self._proven: dict[str, float] = {}
        self._probe_requests = {name: threading.Event() for name in locations}
        self._monotonic = monotonic
        self._lock = threading.Lock()

    def state(self, location: str) -> StoreState:
        """Return the state of a location's store."""
        return self._states.get(location, StoreState(up=False, cause="not configured"))

    def is_up(self, location: str) -> bool:
        """Whether the store may be read; true before the first probe."""
        return self.state(location).up is not False

    def takes_objects(self, location: str) -> bool:
        """Whether the store may be written to; true before the first probe."""
        return self.is_up(location) and not self.state(location).read_only

    def in_doubt(self, location: str) -> bool:
        """Whether something failed since the last successful probe, or a probe is unanswered."""
        probe = self._probes.get(location)
        unanswered = probe is not None and self._monotonic() - probe.began > _PROBE_PATIENCE
        return unanswered or location in self._doubts or self.state(location).failed_probes > 0

    def observe(
        self, location: str, error: StoreUnavailable | None, *, write: bool = False
    ) -> None:
        """Note the outcome of a request.

        A full store is not unavailable: it answered. One that takes no connection is, at once.
        Everything else is left to a probe.
        """
        if error is None or location not in self._states:
            return
        if isinstance(error, StoreFull) and self.is_up(location):
            self._change(location, StoreState(up=True, cause=error.cause, read_only=True))
        elif isinstance(error, StoreUnreachable):
            self._change(location, StoreState(False, _PROBE_FAILURES_TO_FALL, error.cause))
        elif write or isinstance(error, NoAnswer) or not self._just_proven(location):
            self.doubt(location, error.cause, write=write)
        self._probe_requests[location].set()

    def doubt(self, location: str, cause: str, *, write: bool = False) -> None:
        """Put a store in doubt until a probe settles it; with WRITE, a probe that writes."""
        if not self.is_up(location):
            return
        with self._lock:
            old = self._doubts.get(location)
            write = write or (old is not None and old.write)
            self._doubts[location] = _Doubt(cause, self._monotonic(), write)
        if old is None:
            log.warning("store in doubt", extra={"location": location, "cause": cause})
        self._probe_requests[location].set()

    def probe_request(self, location: str) -> threading.Event:
        """Return the event that is set when a store is to be probed at once."""
        return self._probe_requests[location]

    def probing(self, location: str) -> bool:
        """Note the start of a probe, and return whether it is to write an object."""
        with self._lock:
            self._probe_requests[location].clear()
            doubt = self._doubts.get(location)
            write = not self.state(location).whole or (doubt is not None and doubt.write)
            self._probes[location] = _Probe(self._monotonic(), write)
        return write

    def probed(
        self, location: str, error: StoreUnavailable | None, *, readable: bool = False
    ) -> None:
        """Note the end of a probe, and its error if it failed; READABLE: only writing failed."""
        with self._lock:
            probe = self._probes.pop(location, None) or _Probe(self._monotonic(), write=True)
            doubt = self._doubts.get(location)
            doubted = doubt is not None and doubt.since <= probe.began
            if doubted and (error is None or readable):
                del self._doubts[location]
        old = self.state(location)
        if error is None:
            self._proven[location] = self._monotonic()
            self._change(location, StoreState(up=True))
        elif readable:
            self._change(location, StoreState(up=True, cause=error.cause, read_only=True))
        else:
            failures = old.failed_probes + 1
            # A request and a probe that both got an error agree; two silences may be one load peak.
            agreed = doubted and not isinstance(error, NoAnswer)
            fallen = failures >= _PROBE_FAILURES_TO_FALL or old.up is None or agreed
            up = False if fallen else old.up
            self._change(location, StoreState(up, failures, error.cause, old.read_only))

    def _just_proven(self, location: str) -> bool:
        """Whether a probe succeeded a moment ago and found nothing wrong with the store itself."""
        proven = self._proven.get(location)
        return proven is not None and self._monotonic() - proven < _PROOF_SECONDS

    def _change(self, location: str, new: StoreState) -> None:
        with self._lock:
            old = self._states[location]
            self._states[location] = new
            if new.up is False:
                # Nothing is left to settle: only an accepted object makes the store available.
                self._doubts.pop(location, None)
                self._proven.pop(location, None)
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
    """Probes every store, each in a thread of its own: a hanging one delays no other's probe."""

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
                target=self._probe_repeatedly, args=(store,), name=f"probe-{location}", daemon=True
            ).start()

    def wait_for_first(self, seconds: float) -> None:
        """Wait until each store was probed once, for at most SECONDS."""
        deadline = time.monotonic() + seconds
        for probed in self._probed.values():
            probed.wait(max(0.0, deadline - time.monotonic()))

    def stop(self) -> None:
        """Stop probing."""
        self._stop.set()
        for location in self._stores:
            self._health.probe_request(location).set()

    def _probe_repeatedly(self, store: ObjectStore) -> None:
        location = store.location
        while not self._stop.is_set():
            self.probe_once(store)
            self._probed[location].set()
            settled = self._health.state(location).whole and not self._health.in_doubt(location)
            if not self._stop.wait(_PROBE_PAUSE):
                interval = PROBE_INTERVAL if settled else PROBE_INTERVAL_DOUBT
                self._health.probe_request(location).wait(interval - _PROBE_PAUSE)

    def probe_once(self, store: ObjectStore) -> None:
        """Probe one store and note the result; by writing, if it is not known to accept objects."""
        write = self._health.probing(store.location)
        try:
            store.probe(write=write)
        except StoreError as error:
            self._note_failure(store, write, error)
        except Exception as error:
            # Whatever a driver raises, the store has to be probed again: nothing else revives it.
            log.exception("unhandled exception in a probe", extra={"location": store.location})
            self._note_failure(store, write, error)
        else:
            self._health.probed(store.location, None)

    def _note_failure(self, store: ObjectStore, write: bool, error: Exception) -> None:
        """Note a failed probe; one that wrote may have left the store readable."""
        if not isinstance(error, StoreUnavailable):
            error = StoreUnavailable(store.location, str(error) or type(error).__name__)
        self._health.probed(store.location, error, readable=write and _can_be_read(store))


def _can_be_read(store: ObjectStore) -> bool:
    try:
        store.probe(write=False)
    except StoreError:
        return False
    except Exception:
        log.exception("unhandled exception in a probe", extra={"location": store.location})
        return False
    return True
