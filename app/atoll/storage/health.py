"""Health of the stores, as far as this process knows: from background probes and from requests.

A store is *unavailable* after it refused a connection or failed probes, never because of one
request: an error about one object, or silence about it, only puts the store *in doubt* and has it
probed at once. A store in doubt is used where there is no other choice, and settled by the probe.

A store may be slow because it is busy. A probe without an answer counts only if nothing else moved:
answers to requests, and bytes that went to or came from the store, prove that it is alive.

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
    NoAnswer,
    StoreFull,
    StoreMisbehaves,
    StoreSilent,
    StoreUnavailable,
    StoreUnreachable,
)

log = logging.getLogger(__name__)

_USED_SECONDS = 10.0
_PROBE_FAILURES_TO_FALL = 2
# Writing probes without an answer, one after another, after which a store that answers reads is
# taken for read-only. A store at its limit may confirm no write for seconds; in doubt, it is
# written to only where there is no other choice.
_SILENT_WRITES_TO_FALL = 3
# Seconds after which a probe without an answer puts its store in doubt: a multiple of what probes
# usually take, within these bounds. Most take milliseconds; across an ocean, some hundred.
_PATIENCE_MINIMUM, _PATIENCE_MAXIMUM = 0.4, 1.0
_PATIENCE_FACTOR = 4
# How much of the usual duration of a probe is the last one's.
_WEIGHT = 0.2
# Seconds for which a store that moved bytes counts as busy instead of in doubt, or unavailable. The
# first is short because bytes go into the buffers of a hanging store for a moment, too.
_BUSY_SECONDS = 0.8
_BUSY_SECONDS_FAILED = 4.0
# Seconds for which an answer to one request is a reason to wait for the answer to another.
_ANSWERED_SECONDS = 1.0
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
    # Another process has the reason.
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
    # When the first of the probes began that had no answer, one after another, until now.
    unanswered_since: float | None = None
    # Writing probes without an answer since a write was last confirmed.
    silent_writes: int = 0


class StoreHealth:
    """The states of all stores, in memory; every request reads them, so nothing here waits."""

    def __init__(
        self, locations: list[str], *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._states = {name: StoreState() for name in locations}
        self._doubts: dict[str, _Doubt] = {}
        self._probes: dict[str, _Probe] = {}
        self._traces = {name: _Trace() for name in locations}
        self._writing_probes: set[str] = set()
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
        return location in self._doubts or self._failing(location)

    def distrusts(self, location: str) -> bool:
        """Whether this process itself has a reason not to use the store; no hint counts."""
        doubt = self._doubts.get(location)
        known = doubt is not None and not doubt.hint
        return known or self._failing(location) or not self.is_up(location)

    def unresponsive(self, location: str, *, write: bool) -> bool:
        """Whether the store answers neither probes nor requests now; with WRITE, nor writes.

        Bytes that were sent prove nothing about a write: a store may take all of them, and never
        confirm it.
        """
        trace = self._traces[location]
        answered = self._within(trace.written if write else trace.moved, _ANSWERED_SECONDS)
        usable = self.takes_objects(location) if write else self.is_up(location)
        return not usable or (self._unanswered(location) and not answered)

    def distrust(self, location: str) -> tuple[bool, bool]:
        """Return a key that sorts stores by trust: those that answer nothing come last."""
        return self.in_doubt(location), self.unresponsive(location, write=False)

    def use(self, location: str) -> None:
        """Note that a store is about to be used, by this process or a redirected client."""
        if trace := self._traces.get(location):
            trace.used = self._monotonic()

    def move(self, location: str, *, write: bool = False) -> None:
        """Note that bytes came from a store or, with WRITE, went to it."""
        trace = self._traces[location]
        trace.moved = trace.used = self._monotonic()
        if write:
            trace.sent = trace.moved

    def observe(
        self, location: str, error: StoreUnavailable | None, *, write: bool = False
    ) -> None:
        """Note the outcome of a request.

        A full store is not unavailable: it answered. One that takes no connection is, at once.
        Everything else is left to a probe.
        """
        if location not in self._states:
            return
        if not isinstance(error, NoAnswer):
            self.move(location, write=write)
        if error is None:
            if write:
                self._traces[location].written = self._monotonic()
                self._traces[location].silent_writes = 0
            return
        if isinstance(error, StoreFull | StoreUnreachable):
            self._traces[location].lowered = self._monotonic()
        if isinstance(error, StoreFull) and self.is_up(location):
            self._change(location, StoreState(up=True, cause=error.cause, read_only=True))
        elif isinstance(error, StoreUnreachable):
            self._change(location, StoreState(False, _PROBE_FAILURES_TO_FALL, error.cause))
        elif isinstance(error, StoreMisbehaves):
            # Whatever answers there, an object has to come back from it with its bytes.
            self.doubt(location, error.cause, write=True)
        elif write or isinstance(error, NoAnswer) or not self._just_proven(location):
            self.doubt(location, error.cause, write=write)
        self._probe_requests[location].set()

    def doubt(self, location: str, cause: str, *, write: bool = False, hint: bool = False) -> None:
        """Put a store in doubt until a probe settles it.

        Args:
            location: the store's location.
            cause: the reason, for the log.
            write: only a probe that writes settles it.
            hint: another process has the reason; unlike one of its own, it is not shared.
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
        """Have a store probed at once, by writing with WRITE, without putting it in doubt."""
        if write:
            with self._lock:
                self._writing_probes.add(location)
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
            write = write or location in self._writing_probes
            self._writing_probes.discard(location)
            probe = self._probes[location] = _Probe(self._monotonic(), write)
            trace = self._traces[location]
            if trace.unanswered_since is None:
                trace.unanswered_since = probe.began
        return write

    def probed(
        self, location: str, error: StoreUnavailable | None, *, readable: bool = False
    ) -> None:
        """Note the end of a probe, and its error if it failed; READABLE: only writing failed."""
        now = self._monotonic()
        with self._lock:
            probe = self._probes.pop(location, None) or _Probe(now, write=False)
            doubt = self._doubts.get(location)
            doubted = doubt is not None and not doubt.hint and doubt.since <= probe.began
            if readable or not isinstance(error, StoreSilent):
                self._traces[location].unanswered_since = None
        if error is None:
            self._note_success(location, probe)
        elif isinstance(error, StoreSilent) and self._busy(location, write=readable):
            self.doubt(location, f"busy: {error.cause}", write=probe.write)
        elif readable and isinstance(error, StoreSilent) and self._may_still_confirm(location):
            self.doubt(location, f"no write confirmed: {error.cause}", write=True)
        elif readable:
            self._settle(location, probe)
            self._change(location, StoreState(up=True, cause=error.cause, read_only=True))
        else:
            old = self.state(location)
            # After a probe that wrote there was one that did not.
            failures = old.failed_probes + (2 if probe.write else 1)
            # A request and a probe that both got an error agree; two silences may be one load peak.
            agreed = doubted and not isinstance(error, NoAnswer)
            certain = agreed or isinstance(error, StoreUnreachable) or old.up is None
            fallen = certain or failures >= _PROBE_FAILURES_TO_FALL
            up = False if fallen else old.up
            self._change(location, StoreState(up, failures, error.cause, old.read_only))

    def recently_used(self, location: str) -> bool:
        """Whether a request used the store, or was redirected to it, in the last seconds."""
        return self._within(self._traces[location].used, _USED_SECONDS)

    def _note_success(self, location: str, probe: _Probe) -> None:
        trace, now = self._traces[location], self._monotonic()
        if not probe.write:
            trace.usual_probe += _WEIGHT * (now - probe.began - trace.usual_probe)
        trace.proven = now
        if probe.write:
            trace.silent_writes = 0
        self._settle(location, probe)
        # A request may have found it full or unreachable after the probe began. Only an object that
        # it accepted since then proves the contrary.
        old = self.state(location)
        accepted = probe.write and probe.began >= trace.lowered
        if old.up is None or old.whole or accepted:
            self._change(location, StoreState(up=True))

    def _settle(self, location: str, probe: _Probe) -> None:
        """Forget a doubt that is older than PROBE and that PROBE could settle."""
        with self._lock:
            doubt = self._doubts.get(location)
            if doubt and doubt.since <= probe.began and probe.write >= doubt.write:
                del self._doubts[location]

    def _failing(self, location: str) -> bool:
        """Whether the last probe failed, or none is answered and nothing else moves."""
        silent = self._unanswered(location) and not self._within(
            self._traces[location].moved, _BUSY_SECONDS
        )
        return silent or self.state(location).failed_probes > 0

    def _unanswered(self, location: str) -> bool:
        """Whether probes have been without an answer for unusually long."""
        trace, probe = self._traces[location], self._probes.get(location)
        if trace.unanswered_since is None:
            return False
        usual = _PATIENCE_FACTOR * trace.usual_probe
        patience = min(max(usual, _PATIENCE_MINIMUM), _PATIENCE_MAXIMUM)
        if probe is not None and probe.write and probe.began == trace.unanswered_since:
            # It consists of several requests.
            patience = _PATIENCE_MAXIMUM
        return self._monotonic() - trace.unanswered_since > patience

    def _busy(self, location: str, *, write: bool) -> bool:
        """Whether bytes moved while a probe had no answer; with WRITE, whether they were sent."""
        trace = self._traces[location]
        return self._within(trace.sent if write else trace.moved, _BUSY_SECONDS_FAILED)

    def _may_still_confirm(self, location: str) -> bool:
        """Count a writing probe without an answer, and return whether a store has time left."""
        trace = self._traces[location]
        trace.silent_writes += 1
        return trace.silent_writes < _SILENT_WRITES_TO_FALL and self.state(location).whole

    def _within(self, moment: float, seconds: float) -> bool:
        return self._monotonic() - moment < seconds

    def _just_proven(self, location: str) -> bool:
        """Whether a probe succeeded a moment ago and found nothing wrong with the store itself."""
        return self._within(self._traces[location].proven, _PROOF_SECONDS)

    def _change(self, location: str, new: StoreState) -> None:
        with self._lock:
            old = self._states[location]
            self._states[location] = new
            if new.up is False:
                # Nothing is left to settle: only an accepted object makes the store available.
                self._doubts.pop(location, None)
                self._traces[location].proven = float("-inf")
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
