"""The health of stores as one process sees it, from background probes and from requests.

A store is *unavailable* after it refused a connection or failed probes, never because of one
request: an error about one object, or no answer for it, only puts the store *in doubt* and requests
a probe, which settles the doubt. A store in doubt is used only if there is no other choice.

A store may be slow because it is busy. A probe without an answer counts only if nothing else moved:
answers to requests, and bytes to or from the store, prove that it is available.

A store that was unavailable is used again only after it accepted an object, because a store may
answer without accepting any: a full one can still be read.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client import Gauge

from atoll.storage.errors import (
    InvalidStoreResponse,
    NoAnswer,
    StoreFull,
    StoreTimeout,
    StoreUnavailable,
    StoreUnreachable,
)

log = logging.getLogger(__name__)

_USED_SECONDS = 10.0
_PROBE_FAILURES_MAXIMUM = 2
# Consecutive writing probes without an answer after which a store that answers reads counts as
# read-only. An overloaded store may confirm no write for seconds. While it is in doubt, it is
# written to only if there is no other choice.
_SILENT_WRITES_MAXIMUM = 3
# Seconds after which a probe without an answer puts its store in doubt: a multiple of the usual
# duration of probes, within these bounds. Most take milliseconds; across an ocean, some hundred.
_ANSWER_MINIMUM, _ANSWER_MAXIMUM = 0.4, 1.0
_ANSWER_FACTOR = 4
# The weight of the last probe in the usual duration of a probe.
_WEIGHT = 0.2
# Seconds for which a store that moved bytes counts as busy instead of in doubt, or unavailable. The
# first is short because bytes go into the buffers of a hanging store for a moment, too.
_BUSY_SECONDS = 0.8
_BUSY_SECONDS_FAILED = 4.0
# Seconds for which an answer to one request justifies waiting for another.
_ANSWERED_SECONDS = 1.0
# Seconds for which a successful probe outweighs errors about single objects.
_PROOF_SECONDS = 1.0

UP = Gauge(
    "atoll_store_up",
    "1 if this process finds that the store serves and accepts objects",
    ["location"],
    multiprocess_mode="mostrecent",
)


@dataclass(frozen=True, slots=True)
class StoreState:
    """The state of a store.

    Attributes:
        up: whether the store serves objects, None before the first probe has ended.
        failed_probes: the number of consecutive failed probes.
        cause: the reason if it is not available, for the log.
        read_only: whether it serves objects but accepts none.
        full: whether it is read-only because it has no space left.
    """

    up: bool | None = None
    failed_probes: int = 0
    cause: str | None = None
    read_only: bool = False
    full: bool = False

    @property
    def healthy(self) -> bool:
        """Whether a probe proved that the store serves and accepts objects."""
        return self.up is True and not self.read_only


@dataclass(frozen=True, slots=True)
class _Doubt:
    """A reason to distrust a store until a probe that starts later has ended."""

    cause: str
    since: float
    # Settled only by a probe that writes.
    write: bool
    # Reported by another process.
    hint: bool = False


@dataclass(frozen=True, slots=True)
class _Probe:
    began: float
    write: bool


@dataclass(slots=True)
class _Trace:
    """When requests last used a store, moved bytes, sent bytes, and had a write confirmed."""

    used: float = float("-inf")
    moved: float = float("-inf")
    sent: float = float("-inf")
    written: float = float("-inf")
    proven: float = float("-inf")
    # When a request found it full or unreachable.
    lowered: float = float("-inf")
    usual_probe: float = 0.0
    # When the first of the consecutive probes without an answer started.
    unanswered_since: float | None = None
    # Writing probes without an answer since a write was last confirmed.
    silent_writes: int = 0
    # When the state last changed, in seconds since 1970.
    since: float | None = None


class StoreHealth:
    """The states of all stores in memory. Requests read them, so no method waits."""

    def __init__(
        self,
        locations: list[str],
        *,
        monotonic: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._states = {name: StoreState() for name in locations}
        self._doubts: dict[str, _Doubt] = {}
        self._probes: dict[str, _Probe] = {}
        self._traces = {name: _Trace() for name in locations}
        self._writing_probes: set[str] = set()
        self._probe_requests = {name: threading.Event() for name in locations}
        self._monotonic = monotonic
        self._clock = clock
        self._lock = threading.Lock()

    def state(self, location: str) -> StoreState:
        """Return the state of a location's store."""
        return self._states.get(location, StoreState(up=False, cause="not configured"))

    def since(self, location: str) -> float | None:
        """Return when the state last changed, in seconds since 1970; None before a probe."""
        return self._traces[location].since

    def usual_seconds(self, location: str) -> float:
        """Return the usual duration of a probe that reads; 0 before the first successful one."""
        return self._traces[location].usual_probe

    def is_up(self, location: str) -> bool:
        """Whether the store may be read; true before the first probe."""
        return self.state(location).up is not False

    def is_writable(self, location: str) -> bool:
        """Whether the store may be written to; true before the first probe."""
        return self.is_up(location) and not self.state(location).read_only

    def in_doubt(self, location: str) -> bool:
        """Whether a request failed since the last successful probe, or a probe is unanswered."""
        return location in self._doubts or self._failing(location)

    def has_own_doubt(self, location: str) -> bool:
        """Whether this process has a reason of its own not to use the store."""
        doubt = self._doubts.get(location)
        known = doubt is not None and not doubt.hint
        return known or self._failing(location) or not self.is_up(location)

    def unresponsive(self, location: str, *, write: bool) -> bool:
        """Whether the store answers neither probes nor requests.

        Args:
            location: the store's location.
            write: only confirmed writes count as answers. Sent bytes do not: a store may accept
                all of them and never confirm the write.
        """
        trace = self._traces[location]
        answered = self._within(trace.written if write else trace.moved, _ANSWERED_SECONDS)
        usable = self.is_writable(location) if write else self.is_up(location)
        return not usable or (self._unanswered(location) and not answered)

    def sort_key(self, location: str) -> tuple[bool, bool]:
        """Return a sort key by which unresponsive stores come last."""
        return self.in_doubt(location), self.unresponsive(location, write=False)

    def record_use(self, location: str) -> None:
        """Record that this process or a redirected client is about to use a store."""
        if trace := self._traces.get(location):
            trace.used = self._monotonic()

    def record_transfer(self, location: str, *, write: bool = False) -> None:
        """Record that bytes were received from a store or, with `write`, sent to it."""
        trace = self._traces[location]
        trace.moved = trace.used = self._monotonic()
        if write:
            trace.sent = trace.moved

    def observe(
        self, location: str, error: StoreUnavailable | None, *, write: bool = False
    ) -> None:
        """Record the outcome of a request.

        A full store is not unavailable, since it answered. A store that refuses connections is
        unavailable at once. All other errors are settled by a probe.
        """
        if location not in self._states:
            return
        if not isinstance(error, NoAnswer):
            self.record_transfer(location, write=write)
        if error is None:
            if write:
                self._traces[location].written = self._monotonic()
                self._traces[location].silent_writes = 0
            return
        if isinstance(error, StoreFull | StoreUnreachable):
            self._traces[location].lowered = self._monotonic()
        if isinstance(error, StoreFull) and self.is_up(location):
            self._change(location, StoreState(True, 0, error.cause, read_only=True, full=True))
        elif isinstance(error, StoreUnreachable):
            self._change(location, StoreState(False, _PROBE_FAILURES_MAXIMUM, error.cause))
        elif isinstance(error, InvalidStoreResponse):
            # Only a probe that reads back what it wrote proves that this is the store.
            self.doubt(location, error.cause, write=True)
        elif write or isinstance(error, NoAnswer) or not self._just_proven(location):
            self.doubt(location, error.cause, write=write)
        self._probe_requests[location].set()

    def doubt(self, location: str, cause: str, *, write: bool = False, hint: bool = False) -> None:
        """Put a store in doubt until a probe settles it.

        Args:
            location: the store's location.
            cause: the reason, for the log.
            write: the doubt is settled only by a probe that writes.
            hint: the doubt comes from another process, and is not published again.
        """
        if location not in self._states or not self.is_up(location):
            return
        with self._lock:
            old = self._doubts.get(location)
            if old is not None:
                write, hint = write or old.write, hint and old.hint
            self._doubts[location] = _Doubt(cause, self._monotonic(), write, hint)
        if old is None:
            log.warning("store in doubt", extra={"location": location, "cause": cause})
        self._probe_requests[location].set()

    def request_probe(self, location: str, *, write: bool) -> None:
        """Request a probe, with `write` one that writes, without putting the store in doubt."""
        if write:
            with self._lock:
                self._writing_probes.add(location)
        self._probe_requests[location].set()

    def probe_request(self, location: str) -> threading.Event:
        """Return the event that requests a probe of a store."""
        return self._probe_requests[location]

    def begin_probe(self, location: str) -> bool:
        """Record the start of a probe, and return whether it has to write an object."""
        with self._lock:
            self._probe_requests[location].clear()
            doubt = self._doubts.get(location)
            write = not self.state(location).healthy or (doubt is not None and doubt.write)
            write = write or location in self._writing_probes
            self._writing_probes.discard(location)
            probe = self._probes[location] = _Probe(self._monotonic(), write)
            trace = self._traces[location]
            if trace.unanswered_since is None:
                trace.unanswered_since = probe.began
        return write

    def end_probe(
        self, location: str, error: StoreUnavailable | None, *, readable: bool = False
    ) -> None:
        """Record the end of a probe.

        Args:
            location: the store's location.
            error: the error of a failed probe.
            readable: only writing failed.
        """
        now = self._monotonic()
        with self._lock:
            probe = self._probes.pop(location, None) or _Probe(now, write=False)
            doubt = self._doubts.get(location)
            doubted = doubt is not None and not doubt.hint and doubt.since <= probe.began
            if readable or not isinstance(error, StoreTimeout):
                self._traces[location].unanswered_since = None
        if error is None:
            self._note_success(location, probe)
        elif isinstance(error, StoreTimeout) and self._busy(location, write=readable):
            self.doubt(location, f"busy: {error.cause}", write=probe.write)
        elif readable and isinstance(error, StoreTimeout) and self._may_still_confirm(location):
            self.doubt(location, f"no write confirmed: {error.cause}", write=True)
        elif readable:
            self._settle(location, probe)
            full = isinstance(error, StoreFull)
            self._change(location, StoreState(True, 0, error.cause, read_only=True, full=full))
        else:
            old = self.state(location)
            # A failed writing probe was followed by one that only reads.
            failures = old.failed_probes + (2 if probe.write else 1)
            # A request and a probe that both got an error agree; two silences may be one load peak.
            agreed = doubted and not isinstance(error, NoAnswer)
            certain = agreed or isinstance(error, StoreUnreachable) or old.up is None
            down = certain or failures >= _PROBE_FAILURES_MAXIMUM
            up = False if down else old.up
            self._change(location, StoreState(up, failures, error.cause, old.read_only, old.full))

    def recently_used(self, location: str) -> bool:
        """Whether a request used the store, or was redirected to it, within the last seconds."""
        return self._within(self._traces[location].used, _USED_SECONDS)

    def _note_success(self, location: str, probe: _Probe) -> None:
        trace, now = self._traces[location], self._monotonic()
        if not probe.write:
            trace.usual_probe += _WEIGHT * (now - probe.began - trace.usual_probe)
        trace.proven = now
        if probe.write:
            trace.silent_writes = 0
        self._settle(location, probe)
        # A request may have found it full or unreachable after the probe started. Only an object
        # that it accepted later proves the contrary.
        old = self.state(location)
        accepted = probe.write and probe.began >= trace.lowered
        if old.up is None or old.healthy or accepted:
            self._change(location, StoreState(up=True))

    def _settle(self, location: str, probe: _Probe) -> None:
        """Remove a doubt that is older than the probe and that the probe could settle."""
        with self._lock:
            doubt = self._doubts.get(location)
            if doubt and doubt.since <= probe.began and probe.write >= doubt.write:
                del self._doubts[location]

    def _failing(self, location: str) -> bool:
        """Whether the last probe failed, or is unanswered while no bytes move."""
        silent = self._unanswered(location) and not self._within(
            self._traces[location].moved, _BUSY_SECONDS
        )
        return silent or self.state(location).failed_probes > 0

    def _unanswered(self, location: str) -> bool:
        """Whether probes have been unanswered for unusually long."""
        trace, probe = self._traces[location], self._probes.get(location)
        if trace.unanswered_since is None:
            return False
        usual = _ANSWER_FACTOR * trace.usual_probe
        limit = min(max(usual, _ANSWER_MINIMUM), _ANSWER_MAXIMUM)
        if probe is not None and probe.write and probe.began == trace.unanswered_since:
            # A writing probe consists of several requests.
            limit = _ANSWER_MAXIMUM
        return self._monotonic() - trace.unanswered_since > limit

    def _busy(self, location: str, *, write: bool) -> bool:
        """Whether bytes moved or, with `write`, were sent while a probe was unanswered."""
        trace = self._traces[location]
        return self._within(trace.sent if write else trace.moved, _BUSY_SECONDS_FAILED)

    def _may_still_confirm(self, location: str) -> bool:
        """Count an unanswered writing probe, and return whether the store has time left."""
        trace = self._traces[location]
        trace.silent_writes += 1
        return trace.silent_writes < _SILENT_WRITES_MAXIMUM and self.state(location).healthy

    def _within(self, moment: float, seconds: float) -> bool:
        return self._monotonic() - moment < seconds

    def _just_proven(self, location: str) -> bool:
        """Whether a probe has just succeeded, so that the store itself is available."""
        return self._within(self._traces[location].proven, _PROOF_SECONDS)

    def _change(self, location: str, new: StoreState) -> None:
        with self._lock:
            old = self._states[location]
            self._states[location] = new
            if new.up is False:
                # No doubt is left to settle: only an accepted object makes the store available.
                self._doubts.pop(location, None)
                self._traces[location].proven = float("-inf")
        UP.labels(location).set(1 if new.healthy else 0)
        if (old.up, old.read_only) == (new.up, new.read_only):
            return
        self._traces[location].since = self._clock()
        if new.healthy:
            log.info("store marked available", extra={"location": location})
        elif new.up:
            fields = {"location": location, "cause": new.cause}
            log.error("store marked read-only", extra=fields)
        else:
            log.error("store marked unavailable", extra={"location": location, "cause": new.cause})
