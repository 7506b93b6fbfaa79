"""Probe the stores in the background."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from functools import partial

from atoll.periodic import PeriodicThread, ThreadRegistry
from atoll.storage.base import ObjectStore
from atoll.storage.errors import StoreError, StoreUnavailable
from atoll.storage.health import StoreHealth

log = logging.getLogger(__name__)

# Seconds between probes: of an idle store, of one that requests used lately, and of one that is
# unavailable or in doubt. A client that is redirected to a hanging store leaves no trace here, so
# the first two limit for how long clients are redirected to a store that stopped answering.
PROBE_INTERVAL = 1.5
PROBE_INTERVAL_USED = 0.5
PROBE_INTERVAL_DOUBT = 0.5
# The shortest time between probes, in seconds, so that clients cannot cause any number of them.
_PROBE_PAUSE = 0.1


class Prober:
    """Probes each store in a thread of its own, so that a hanging store delays no other probe."""

    def __init__(
        self,
        stores: Mapping[str, ObjectStore],
        health: StoreHealth,
    ) -> None:
        self._stores = stores
        self._health = health
        self._threads: list[PeriodicThread] = []
        self._probed = {location: threading.Event() for location in stores}

    def start(self, registry: ThreadRegistry) -> None:
        """Start probing; the threads end with the process, or after `stop`.

        A probe has no time limit here: one that hangs makes its store unavailable, not this
        process unhealthy.
        """
        for location, store in self._stores.items():
            thread = registry.repeat(
                f"probe-{location}",
                PROBE_INTERVAL,
                partial(self._probe_and_notify, store),
                pause=partial(self._wait_for_next, location),
            )
            self._threads.append(thread)

    def wait_for_first(self, seconds: float) -> None:
        """Wait for at most `seconds` until each store was probed once."""
        deadline = time.monotonic() + seconds
        for probed in self._probed.values():
            probed.wait(max(0.0, deadline - time.monotonic()))

    def stop(self) -> None:
        """Stop probing."""
        for thread in self._threads:
            thread.stop()
        for location in self._stores:
            self._health.request_probe(location, write=False)

    def _probe_and_notify(self, store: ObjectStore) -> None:
        self.probe_once(store)
        self._probed[store.location].set()

    def _wait_for_next(self, location: str, _seconds: float) -> None:
        """Wait until the next probe of a store is due or requested."""
        time.sleep(_PROBE_PAUSE)
        self._health.probe_request(location).wait(self._interval(location) - _PROBE_PAUSE)

    def _interval(self, location: str) -> float:
        """Return the seconds from the end of one probe to the next."""
        if not self._health.state(location).healthy or self._health.in_doubt(location):
            return PROBE_INTERVAL_DOUBT
        return PROBE_INTERVAL_USED if self._health.recently_used(location) else PROBE_INTERVAL

    def probe_once(self, store: ObjectStore) -> None:
        """Probe one store and record the result. A store that may be read-only is written to."""
        write = self._health.begin_probe(store.location)
        try:
            store.probe(write=write)
        except StoreError as error:
            self._note_failure(store, write, error)
        except Exception as error:
            # The store has to be probed again after any exception: nothing else makes it available.
            log.exception("unhandled exception in a probe", extra={"location": store.location})
            self._note_failure(store, write, error)
        else:
            self._health.end_probe(store.location, None)

    def _note_failure(self, store: ObjectStore, write: bool, error: Exception) -> None:
        """Record a failed probe. If only writing failed, the store can still be read."""
        if not isinstance(error, StoreUnavailable):
            error = StoreUnavailable(store.location, str(error) or type(error).__name__)
        self._health.end_probe(store.location, error, readable=write and _can_be_read(store))


def _can_be_read(store: ObjectStore) -> bool:
    try:
        store.probe(write=False)
    except StoreError:
        return False
    except Exception:
        log.exception("unhandled exception in a probe", extra={"location": store.location})
        return False
    return True
