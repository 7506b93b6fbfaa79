"""A site's replication worker: it copies missing blobs to the site's own location.

In each lane one thread claims tasks and others copy. One thread records finished copies, one renews
the leases, one listens for notifications. Correctness depends on the task table alone: the worker
may be killed at any line. No thread ends because of an error, and `alive` watches all of them.
"""

from __future__ import annotations

import datetime
import logging
import random
import threading
import time
from collections.abc import Callable
from functools import partial

from prometheus_client import Counter

from atoll.config.replication_limits import ReplicationLimit
from atoll.db.leased_queue import LeaseLost
from atoll.db.pool import Database, DatabaseUnavailable
from atoll.db.transient import is_transient
from atoll.periodic import ThreadRegistry
from atoll.placement.checks.doubts import Doubts
from atoll.placement.checks.plausibility import RecentReads
from atoll.placement.checks.quarantined_copies import QuarantinedCopies
from atoll.placement.claims import Claims
from atoll.placement.tasks import (
    LEASE_SECONDS,
    Task,
    Tasks,
)
from atoll.rate_limit import RateLimiter
from atoll.replication.completion import Finisher
from atoll.replication.copier import Copier
from atoll.replication.leases import Leases
from atoll.replication.listener import listen_until
from atoll.replication.source import WrongContent
from atoll.replication.work_queue import Lane
from atoll.storage.errors import NoHealthyStore, ObjectMissing, StoreError
from atoll.storage.locations import Locations

log = logging.getLogger(__name__)

# Seconds. Notifications only make it sooner; jitter keeps sites from polling at the same moments.
POLL_SECONDS = 5.0
_JITTER = 0.2
# Unused bandwidth that may be used at once.
_BURST_SECONDS = 1.0
# A thread without a heartbeat for so long hangs. A copy has one with each part, which may be
# gigabytes, or be copied within the store.
_SILENCE_SECONDS = 6 * POLL_SECONDS
_COPY_SILENCE_SECONDS = 3600.0
# For each large copy at once: threads for small ones, and tasks of small ones that are held.
_SMALL_THREADS = 4
_SMALL_HELD = 16

COPIED = Counter(
    "atoll_replication_copied", "Blobs that this process copied to the location", ["location"]
)
COPIED_BYTES = Counter(
    "atoll_replication_copied_bytes",
    "Bytes of blobs that this process copied to the location",
    ["location"],
)
FAILED = Counter(
    "atoll_replication_failed",
    "Failed attempts of this process to copy a blob, by reason",
    ["location", "reason"],
)


class Worker:
    """Copies to the first location of this site's preference: COPIES large blobs at once."""

    def __init__(
        self,
        database: Database,
        locations: Locations,
        *,
        copies: int,
        limit: ReplicationLimit | None = None,
        forget_cached: Callable[[list[Task]], None] = lambda _tasks: None,
        recent: RecentReads | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self._location = locations.preference[0]
        self._database = database
        self._tasks = Tasks(database, self._location, lease_seconds=lease_seconds)
        self._locations = locations
        self._copier = Copier(locations.stores, self._location)
        self._quarantined_copies = QuarantinedCopies(
            locations.stores[self._location], monotonic=monotonic
        )
        self._doubts = Doubts(database, self._location, recent or RecentReads(monotonic=monotonic))
        self._limiter = RateLimiter(
            limit.bandwidth if limit else None, burst_seconds=_BURST_SECONDS
        )
        self._hours = limit.hours if limit else None
        self._forget_cached = forget_cached
        self._threads = ThreadRegistry(monotonic)
        self._stop = threading.Event()
        self._stopped = threading.Event()
        self._leases = Leases(self._tasks, self._threads, lease_seconds=lease_seconds)
        self._finisher = Finisher(
            self._tasks, self._threads, recorded=self._recorded, refused=self._not_recorded
        )
        self._lanes = {
            True: Lane(large=True, threads=copies, held_maximum=copies),
            False: Lane(
                large=False, threads=_SMALL_THREADS * copies, held_maximum=_SMALL_HELD * copies
            ),
        }
        self._claims = {
            large: Claims(self._tasks, large=large, sweep_seconds=POLL_SECONDS)
            for large in self._lanes
        }
        self._claimers: list[threading.Thread] = []
        self._copiers: list[threading.Thread] = []

    def start(self) -> None:
        """Start all threads."""
        self._start("leases", partial(self._leases.renew_until, self._stopped))
        self._start("bell", self._listen)
        self._finishing = self._start("finish", self._finisher.run)
        for lane in self._lanes.values():
            claim = partial(self._claim_until_stopped, lane)
            self._claimers.append(self._start("claim-large" if lane.large else "claim", claim))
            for number in range(lane.threads):
                copy = partial(self._copy_until_stopped, lane)
                self._copiers.append(self._start(f"copy-{number}", copy, _COPY_SILENCE_SECONDS))

    def stop(self) -> None:
        """Give back unfinished copies, record the finished ones, and wait for the threads."""
        self._stop.set()
        self._wake()
        for claimer in self._claimers:
            claimer.join()
        for lane in self._lanes.values():
            lane.end()
        for copier in self._copiers:
            copier.join()
        self._finisher.end()
        self._finishing.join()
        self._stopped.set()

    @property
    def alive(self) -> bool:
        """Whether no thread of this worker died or hangs; true while it stops."""
        return self._stop.is_set() or not self._threads.silent()

    def _start(
        self, name: str, target: Callable[[], None], silence_seconds: float = _SILENCE_SECONDS
    ) -> threading.Thread:
        return self._threads.start(name, target, silence_seconds)

    def _wake(self) -> None:
        for lane in self._lanes.values():
            lane.wake.set()

    def _listen(self) -> None:
        listen_until(
            self._stopped,
            self._database,
            self._location,
            POLL_SECONDS,
            ring=self._wake,
            beat=self._threads.beat,
        )

    def _claim_until_stopped(self, lane: Lane) -> None:
        while not self._stop.is_set():
            self._threads.beat()
            room = lane.room(POLL_SECONDS)
            # Before the claim, so that a task written after it is not missed until the next poll.
            lane.wake.clear()
            if room == 0 or self._claim(lane, room) == room:
                continue
            self._threads.beat()
            poll = POLL_SECONDS * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311
            lane.wake.wait(self._claims[lane.large].pause(poll))

    def _claim(self, lane: Lane, limit: int) -> int:
        """Claim up to LIMIT tasks for LANE, if this worker may copy now; return how many."""
        try:
            if not (self._permitted() and self._locations.health.takes_objects(self._location)):
                return 0
            sources = self._locations.selection.sources(self._location)
            tasks = self._claims[lane.large].claim(limit, sources, self._leases.ids())
        except Exception as error:
            fields = {"location": self._location, "cause": str(error)}
            log.warning("tasks not claimed", extra=fields, exc_info=not is_transient(error))
            return 0
        self._leases.hold(tasks)
        lane.add(tasks)
        return len(tasks)

    def _copy_until_stopped(self, lane: Lane) -> None:
        self._threads.idle()
        while task := lane.next():
            self._threads.beat()
            copied = False
            try:
                copied = self._carry_out(task)
            except DatabaseUnavailable as error:
                log.warning("task not released", extra={**self._fields(task), "cause": str(error)})
            except Exception as error:
                # An error in one task must not end the thread that would do all the others.
                log.exception("unhandled exception in a copy", extra=self._fields(task))
                self._release_if_possible(task, error)
            finally:
                if copied:
                    self._finisher.add(task)
                else:
                    self._over(task)
            self._threads.idle()

    def _carry_out(self, task: Task) -> bool:
        """Copy, and return True if that is to be recorded; otherwise release the task."""
        fields = self._fields(task)
        try:
            self._copy(task)
        except LeaseLost:
            log.warning("lease lost", extra=fields)
            FAILED.labels(self._location, "lease lost").inc()
        except (_Stopping, NoHealthyStore):
            # Neither says anything about this blob. It is claimed again once there is a source.
            self._tasks.give_back([task])
        except WrongContent as error:
            log.error("wrong bytes read", extra={**fields, "cause": str(error)})
            FAILED.labels(self._location, "wrong content").inc()
            if len(error.sources) == 1:
                self._doubts.wrong(task, error.sources[0], error.reason)
            self._tasks.release(task, str(error))
        except StoreError as error:
            log.warning("blob not copied yet", extra={**fields, "cause": str(error)})
            FAILED.labels(self._location, type(error).__name__).inc()
            if isinstance(error, ObjectMissing) and error.location != self._location:
                self._doubts.wrong(task, error.location, "no such object")
            at_target = getattr(error, "location", None) == self._location
            self._tasks.release(task, str(error), at_target=at_target)
        else:
            return True
        return False

    def _release_if_possible(self, task: Task, error: Exception) -> None:
        """Release after an unexpected ERROR; where that fails, the lease expires."""
        FAILED.labels(self._location, type(error).__name__).inc()
        try:
            self._tasks.release(task, f"{type(error).__name__}: {error}")
        except Exception as failure:
            fields = {**self._fields(task), "cause": str(failure)}
            log.warning("task not released", extra=fields, exc_info=not is_transient(failure))

    def _copy(self, task: Task) -> None:
        hold = _Hold(task, self._tasks, self._leases, self._limiter, self._wait_or_stop)
        hold.check()
        if self._quarantined_copies.is_intact(task, hold.check):
            log.info("copy in quarantine is right", extra={"digest": str(task.digest)})
            return
        sources = self._locations.selection.to_read(
            [name for name in task.placements if name != self._location]
        )
        # After wrong bytes of several sources, each is tried alone, in turn, to find the culprit.
        if task.attempts > 1:
            turn = (task.attempts - 1) % len(sources)
            sources = sources[turn:] + sources[:turn]
        sources.sort(key=task.doubted.__contains__)
        used = self._copier.copy(task.digest, task.size, sources, hold, task.upload_id)
        self._doubts.right(task, used)

    def _wait_or_stop(self, seconds: float) -> bool:
        """Wait for `seconds`, and return whether copies have to stop."""
        self._threads.beat()
        stopped = self._stop.wait(seconds) if seconds else self._stop.is_set()
        return stopped or not self._permitted()

    def _permitted(self) -> bool:
        """Return whether REPLICATION_LIMITS permits copies at this hour."""
        return self._hours is None or self._hours.contain(datetime.datetime.now(datetime.UTC))

    def _recorded(self, placed: list[Task], lost: list[Task]) -> None:
        """Report copies that were recorded, and let all go."""
        try:
            self._report(placed, lost)
        finally:
            for task in (*placed, *lost):
                self._over(task)

    def _not_recorded(self, task: Task, error: Exception) -> None:
        """Release a task whose placement PostgreSQL refuses."""
        try:
            self._release_if_possible(task, error)
        finally:
            self._over(task)

    def _report(self, placed: list[Task], lost: list[Task]) -> None:
        if placed:
            self._forget_cached(placed)
            COPIED.labels(self._location).inc(len(placed))
            COPIED_BYTES.labels(self._location).inc(sum(task.size for task in placed))
        for task in placed:
            log.info("blob copied", extra=self._fields(task))
        for task in lost:
            log.warning("lease lost", extra=self._fields(task))
            FAILED.labels(self._location, "lease lost").inc()

    def _fields(self, task: Task) -> dict[str, object]:
        return {"digest": str(task.digest), "size": task.size, "location": self._location}

    def _over(self, task: Task) -> None:
        """Let a task go that was recorded, released or lost."""
        self._leases.let_go(task)
        self._lanes[task.large].over()


class _Hold:
    """Lets a copy of TASK stop, keep to the bandwidth and record its upload."""

    def __init__(
        self,
        task: Task,
        tasks: Tasks,
        leases: Leases,
        limiter: RateLimiter,
        stopping: Callable[[float], bool],
    ) -> None:
        self._task = task
        self._tasks = tasks
        self._leases = leases
        self._limiter = limiter
        self._stopping = stopping

    def check(self) -> None:
        """Raise _Stopping or LeaseLost if the copy is to stop."""
        self._check_after(0)

    def pace(self, size: int) -> None:
        """Wait until SIZE more bytes may be written. Raises what `check` raises."""
        self._limiter.take(size, self._wait)

    def _wait(self, seconds: float) -> None:
        # In short pieces: a lost lease shows, and a narrow bandwidth is no sign of a hung thread.
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._check_after(min(left, POLL_SECONDS))

    def _check_after(self, seconds: float) -> None:
        if self._stopping(seconds):
            raise _Stopping
        self._leases.check(self._task)

    def remember(self, upload_id: str | None) -> None:
        """Record the upload that is under way."""
        self._tasks.record_upload(self._task, upload_id)


class _Stopping(Exception):
    """The worker stops, or its hours are over; its task can be claimed again at once."""
