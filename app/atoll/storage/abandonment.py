"""Abandon transfers to and from a hanging store, so that they can continue at another location.

The drivers have long time-outs, because a busy store may need long to confirm a large object.
Probes show sooner whether a silent store is busy or hangs: a hanging store does not answer them
either. So a transfer runs in a thread of its own, and is abandoned if it makes no progress for
`SILENCE_SECONDS` and its store answers neither probes nor other requests. The thread ends with the
driver's time-out.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import Generic, TypeVar

from atoll import round_trips
from atoll.storage.base import ObjectStore
from atoll.storage.errors import StoreTimeout
from atoll.storage.health import StoreHealth

log = logging.getLogger(__name__)

# Seconds without progress after which a probe is requested, and after which the transfer is
# abandoned: usually, if the store was in doubt before, and if there is no other location.
_PROBE_AFTER = 0.7
SILENCE_SECONDS = 2.0
_SILENCE_SECONDS_DOUBT = 1.0
_SILENCE_SECONDS_LAST = 3.0
_TICK = 0.1
# The number of pieces that are read ahead.
_READ_AHEAD = 2

Result = TypeVar("Result")


class Attempt:
    """A transfer to or from a store, shared by the transferring and the waiting thread."""

    def __init__(
        self, health: StoreHealth, location: str, *, write: bool, last: bool = False
    ) -> None:
        self._health = health
        self._location = location
        self._write = write
        self._silence_limit = SILENCE_SECONDS
        if last:
            self._silence_limit = _SILENCE_SECONDS_LAST
        elif health.in_doubt(location):
            self._silence_limit = _SILENCE_SECONDS_DOUBT
        self._begun = False
        self._moved_at = time.monotonic()
        self._probe_requested = False
        self._abandoned = False

    @property
    def abandoned(self) -> bool:
        """Whether the transfer was abandoned."""
        return self._abandoned

    def progress(self) -> None:
        """Record that bytes moved or a request was answered."""
        self._begun = True
        self.resume()
        self._health.record_transfer(self._location, write=self._write)

    def resume(self) -> None:
        """Start to measure the silence again, after a pause of the waiting thread."""
        self._moved_at = time.monotonic()
        self._probe_requested = False

    def hangs(self) -> bool:
        """Whether the transfer makes no progress and its store is unresponsive.

        Requests a probe before.
        """
        silent = time.monotonic() - self._moved_at
        if silent > _PROBE_AFTER and not self._probe_requested:
            self._health.request_probe(self._location, write=self._write)
            self._probe_requested = True
        # A write that has not begun waits for a connection while other transfers progress.
        write = self._write and self._begun
        return silent > self._silence_limit and self._health.unresponsive(
            self._location, write=write
        )

    def abandon(self) -> None:
        """Record that the transfer is abandoned."""
        self._abandoned = True

    def failure(self) -> StoreTimeout:
        """Put the store in doubt, and return the error to raise."""
        cause = f"no progress for {self._silence_limit:.0f} s, and no answer to a probe"
        self._health.doubt(self._location, cause, write=self._write)
        return StoreTimeout(self._location, cause)


class _Run(Generic[Result]):
    """Runs `work` in a thread, then `late` if the attempt was abandoned."""

    def __init__(
        self,
        attempt: Attempt,
        work: Callable[[Attempt], Result],
        late: Callable[[], None],
        name: str,
    ) -> None:
        self.attempt = attempt
        self._work = work
        self._late = late
        self._ended = threading.Event()
        # Decides whether the transfer ended or was abandoned first.
        self._lock = threading.Lock()
        self._result: list[Result] = []
        self._error: BaseException | None = None
        self._trips: dict[str, int] = {}
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def wait(self, seconds: float) -> bool:
        """Wait for at most `seconds`; return whether the transfer has ended."""
        return self._ended.wait(seconds)

    def abandon(self) -> bool:
        """Stop waiting; return False if the transfer has just ended."""
        with self._lock:
            if self._ended.is_set():
                return False
            self.attempt.abandon()
            return True

    def result(self) -> Result:
        """Return the result of `work`, or raise its exception."""
        for whom, number in self._trips.items():
            for _ in range(number):
                round_trips.count(whom)
        if self._error is not None:
            raise self._error
        return self._result[0]

    def _run(self) -> None:
        round_trips.reset()
        try:
            self._result.append(self._work(self.attempt))
        except BaseException as error:
            self._error = error
        self._trips = round_trips.counts()
        with self._lock:
            self._ended.set()
        if self.attempt.abandoned:
            try:
                self._late()
            except Exception as error:
                log.warning("abandoned object left behind", extra={"cause": str(error)})


def write_or_abandon(
    health: StoreHealth,
    location: str,
    work: Callable[[Attempt], Result],
    *,
    elsewhere: Callable[[], bool],
    late: Callable[[], None],
) -> Result:
    """Run `work`, which writes to a store, and abandon it if the store hangs.

    Args:
        health: the state of the stores; an abandoned store is put in doubt.
        location: the location to write to.
        work: writes, and reports its progress. It must not share state that later attempts
            change.
        elsewhere: returns whether there is another location; otherwise `work` is not abandoned.
        late: called in the thread of an abandoned `work` after it has ended. The object may
            exist then.

    Raises:
        StoreTimeout: the write was abandoned.
    """
    attempt = Attempt(health, location, write=True)
    run = _Run(attempt, work, late, f"write-{location}")
    while not run.wait(_TICK):
        if attempt.hangs() and elsewhere() and run.abandon():
            raise attempt.failure()
    return run.result()


def read_or_abandon(
    health: StoreHealth,
    store: ObjectStore,
    key: str,
    start: int = 0,
    end: int | None = None,
    *,
    last: bool = False,
) -> Generator[bytes, None, None]:
    """Yield the bytes of an object, and abandon the read if the store hangs.

    Args:
        health: the state of the stores; an abandoned store is put in doubt.
        store: the store to read from.
        key: the object's key.
        start: the first byte.
        end: the byte after the last one, None for all.
        last: there is no other location to continue at, so the store has more time.

    Raises:
        StoreError: the read failed; StoreTimeout if it was abandoned.
    """
    round_trips.count(round_trips.STORE)
    attempt = Attempt(health, store.location, write=False, last=last)
    pieces: queue.Queue[bytes | BaseException | None] = queue.Queue(_READ_AHEAD)
    arguments = (store.read(key, start, end), pieces, attempt)
    name = f"read-{store.location}"
    threading.Thread(target=_read_ahead, args=arguments, name=name, daemon=True).start()
    try:
        while True:
            try:
                piece = pieces.get(timeout=_TICK)
            except queue.Empty:
                if attempt.hangs():
                    raise attempt.failure() from None
                continue
            if piece is None:
                return
            if isinstance(piece, BaseException):
                raise piece
            yield piece
            # The time that a client takes to receive the bytes is not the store's.
            attempt.resume()
    finally:
        attempt.abandon()


def _read_ahead(
    source: Iterator[bytes], pieces: queue.Queue[bytes | BaseException | None], attempt: Attempt
) -> None:
    """Put the pieces of `source` into a queue, then its error or None."""

    def put(piece: bytes | BaseException | None) -> bool:
        while not attempt.abandoned:
            try:
                pieces.put(piece, timeout=_TICK)
            except queue.Full:
                continue
            return True
        return False

    end: BaseException | None = None
    try:
        for piece in source:
            attempt.progress()
            if not put(piece):
                break
    except BaseException as error:
        end = error
    finally:
        if isinstance(source, Generator):
            source.close()
    put(end)
