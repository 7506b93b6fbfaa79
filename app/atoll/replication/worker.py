"""A site's replication worker: it copies missing blobs to the site's own location.

For each work queue one thread claims tasks and others copy. One thread records finished copies, one
extends the leases, one listens for notifications. Correctness depends on the task table alone: the
worker may be killed at any time. Threads survive every exception, and `alive` watches all of them.
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
from atoll.db.notifications import listen_until
from atoll.db.pool import Database, DatabaseUnavailable
from atoll.db.transient import is_transient
from atoll.db.wake_ups import REPLICATION_CHANNEL
from atoll.periodic import ThreadRegistry
from atoll.placement.checks.doubts import Doubts
from atoll.placement.checks.plausibility import RecentReads
from atoll.placement.checks.quarantined_copies import QuarantinedCopies
from atoll.placement.claims import Claims
from atoll.placement.placement_cache import PlacementCache
from atoll.placement.tasks import (
    LEASE_SECONDS,
    Task,
    Tasks,
)
from atoll.rate_limit import RateLimiter
from atoll.replication.completion import Finisher
from atoll.replication.copier import Copier
from atoll.replication.leases import Leases
from atoll.replication.source import WrongContent
from atoll.replication.work_queue import WorkQueue
from atoll.storage.errors import NoHealthyStore, ObjectMissing, StoreError
from atoll.storage.locations import Locations

log = logging.getLogger(__name__)

# Seconds between polls, which notifications shorten. Jitter keeps sites from polling together.
POLL_SECONDS = 5.0
_JITTER = 0.2
# Unused bandwidth that may be used at once.
_BURST_SECONDS = 1.0
# Seconds without a heartbeat after which a thread counts as hanging. A copy has a heartbeat for
# each part, which may be gigabytes or be copied within the store.
_SILENCE_SECONDS = 6 * POLL_SECONDS
_COPY_SILENCE_SECONDS = 3600.0
# Threads for small copies, and tasks of small blobs that are held, for each concurrent large copy.
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
    """Copies blobs to the first location of this site's preference."""

    def __init__(
        self,
        database: Database,
        locations: Locations,
        *,
        copies: int,
        limit: ReplicationLimit | None = None,
        cache: PlacementCache,
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
        self._cache = cache
        self._threads = ThreadRegistry(monotonic)
        self._stop = threading.Event()
        self._stopped = threading.Event()
        self._leases = Leases(self._tasks, self._threads, lease_seconds=lease_seconds)
        self._finisher = Finisher(
            self._tasks, self._threads, recorded=self._recorded, refused=self._not_recorded
        )
        self._queues = {
            True: WorkQueue(large=True, threads=copies, held_maximum=copies),
            False: WorkQueue(
                large=False, threads=_SMALL_THREADS * copies, held_maximum=_SMALL_HELD * copies
            ),
        }
        self._claims = {
            large: Claims(self._tasks, large=large, sweep_seconds=POLL_SECONDS)
            for large in self._queues
        }
        self._claimers: list[threading.Thread] = []
        self._copiers: list[threading.Thread] = []

    def start(self) -> None:
        """Start all threads."""
        self._start("leases", partial(self._leases.renew_until, self._stopped))
        self._start("listener", self._listen)
        self._finishing = self._start("finish", self._finisher.run)
        for queue in self._queues.values():
            claim = partial(self._claim_until_stopped, queue)
            self._claimers.append(self._start("claim-large" if queue.large else "claim", claim))
            for number in range(queue.threads):
                copy = partial(self._copy_until_stopped, queue)
                self._copiers.append(self._start(f"copy-{number}", copy, _COPY_SILENCE_SECONDS))

    def stop(self) -> None:
        """Give back unfinished tasks, record finished copies, and wait for the threads."""
        self._stop.set()
        self._wake()
        for claimer in self._claimers:
            claimer.join()
        for queue in self._queues.values():
            queue.end()
        for copier in self._copiers:
            copier.join()
        self._finisher.end()
        self._finishing.join()
        self._stopped.set()

    @property
    def alive(self) -> bool:
        """Whether all threads are running and responsive; always true while the worker stops."""
        return self._stop.is_set() or not self._threads.silent()

    def _start(
        self, name: str, target: Callable[[], None], silence_seconds: float = _SILENCE_SECONDS
    ) -> threading.Thread:
        return self._threads.start(name, target, silence_seconds)

    def _wake(self) -> None:
        for queue in self._queues.values():
            queue.wake.set()

    def _heard(self, locations: frozenset[str] | None) -> None:
        if locations is None or self._location in locations:
            self._wake()

    def _listen(self) -> None:
        listen_until(
            self._stopped,
            self._database,
            REPLICATION_CHANNEL,
            POLL_SECONDS,
            heard=self._heard,
            beat=self._threads.beat,
        )

    def _claim_until_stopped(self, queue: WorkQueue) -> None:
        while not self._stop.is_set():
            self._threads.beat()
            capacity = queue.capacity(POLL_SECONDS)
            # Cleared before the claim, so that a task created after it is not missed.
            queue.wake.clear()
            if capacity == 0 or self._claim(queue, capacity) == capacity:
                continue
            self._threads.beat()
            poll = POLL_SECONDS * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311
            queue.wake.wait(self._claims[queue.large].pause(poll))

    def _claim(self, queue: WorkQueue, limit: int) -> int:
        """Claim tasks if the worker may copy now, and return their number."""
        try:
            if not (self._permitted() and self._locations.health.is_writable(self._location)):
                return 0
            sources = self._locations.selection.sources(self._location)
            tasks = self._claims[queue.large].claim(limit, sources, self._leases.ids())
        except Exception as error:
            fields = {"location": self._location, "cause": str(error)}
            log.warning("tasks not claimed", extra=fields, exc_info=not is_transient(error))
            return 0
        self._leases.add(tasks)
        queue.add(tasks)
        return len(tasks)

    def _copy_until_stopped(self, queue: WorkQueue) -> None:
        self._threads.idle()
        while task := queue.next():
            self._threads.beat()
            copied = False
            try:
                copied = self._run_task(task)
            except DatabaseUnavailable as error:
                log.warning("task not released", extra={**self._fields(task), "cause": str(error)})
            except Exception as error:
                # An error in one task must not end the thread.
                log.exception("unhandled exception in a copy", extra=self._fields(task))
                self._release_if_possible(task, error)
            finally:
                if copied:
                    self._finisher.add(task)
                else:
                    self._task_done(task)
            self._threads.idle()

    def _run_task(self, task: Task) -> bool:
        """Copy, and return whether the copy is to be recorded; otherwise release the task."""
        fields = self._fields(task)
        try:
            self._copy(task)
        except LeaseLost:
            log.warning("lease lost", extra=fields)
            FAILED.labels(self._location, "lease lost").inc()
        except (_Stopping, NoHealthyStore):
            # Not a failure of this blob. It is claimed again when a source is available.
            self._tasks.give_back([task])
        except WrongContent as error:
            log.error("wrong bytes read", extra={**fields, "cause": str(error)})
            FAILED.labels(self._location, "wrong content").inc()
            if len(error.sources) == 1:
                self._doubts.record_mismatch(task, error.sources[0], error.reason)
            self._tasks.release(task, str(error))
        except StoreError as error:
            log.warning("copy failed", extra={**fields, "cause": str(error)})
            FAILED.labels(self._location, type(error).__name__).inc()
            if isinstance(error, ObjectMissing) and error.location != self._location:
                self._doubts.record_mismatch(task, error.location, "no such object")
            at_target = getattr(error, "location", None) == self._location
            self._tasks.release(task, str(error), at_target=at_target)
        else:
            return True
        return False

    def _release_if_possible(self, task: Task, error: Exception) -> None:
        """Release a task after an unexpected error; if that fails, the lease expires."""
        FAILED.labels(self._location, type(error).__name__).inc()
        try:
            self._tasks.release(task, f"{type(error).__name__}: {error}")
        except Exception as failure:
            fields = {**self._fields(task), "cause": str(failure)}
            log.warning("task not released", extra=fields, exc_info=not is_transient(failure))

    def _copy(self, task: Task) -> None:
        control = _TaskControl(task, self._tasks, self._leases, self._limiter, self._wait_or_stop)
        control.check()
        if self._quarantined_copies.is_intact(task, control.check):
            log.info("quarantined copy is intact", extra={"digest": str(task.digest)})
            return
        sources = self._locations.selection.to_read(
            [name for name in task.placements if name != self._location]
        )
        # After a failure the first source changes with each attempt, to find the one with wrong
        # bytes.
        if task.attempts > 1:
            turn = (task.attempts - 1) % len(sources)
            sources = sources[turn:] + sources[:turn]
        sources.sort(key=task.doubted.__contains__)
        used = self._copier.copy(task.digest, task.size, sources, control, task.upload_id)
        self._doubts.record_match(task, used)

    def _wait_or_stop(self, seconds: float) -> bool:
        """Wait for `seconds`, and return whether copies have to stop."""
        self._threads.beat()
        stopped = self._stop.wait(seconds) if seconds else self._stop.is_set()
        return stopped or not self._permitted()

    def _permitted(self) -> bool:
        """Return whether REPLICATION_LIMITS permits copies at this hour."""
        return self._hours is None or self._hours.contain(datetime.datetime.now(datetime.UTC))

    def _recorded(self, placed: list[Task], lost: list[Task]) -> None:
        """Log recorded copies and lost leases, and stop holding their tasks."""
        try:
            self._report(placed, lost)
        finally:
            for task in (*placed, *lost):
                self._task_done(task)

    def _not_recorded(self, task: Task, error: Exception) -> None:
        """Release a task whose placement PostgreSQL refused."""
        try:
            self._release_if_possible(task, error)
        finally:
            self._task_done(task)

    def _report(self, placed: list[Task], lost: list[Task]) -> None:
        if placed:
            self._cache.forget(*(task.digest for task in placed))
            COPIED.labels(self._location).inc(len(placed))
            COPIED_BYTES.labels(self._location).inc(sum(task.size for task in placed))
        for task in placed:
            log.info("blob copied", extra=self._fields(task))
        for task in lost:
            log.warning("lease lost", extra=self._fields(task))
            FAILED.labels(self._location, "lease lost").inc()

    def _fields(self, task: Task) -> dict[str, object]:
        return {"digest": str(task.digest), "size": task.size, "location": self._location}

    def _task_done(self, task: Task) -> None:
        """Stop holding a task that was recorded, released or lost."""
        self._leases.remove(task)
        self._queues[task.large].task_done()


class _TaskControl:
    """Controls the copy of one task: stops it, limits its rate and records its upload."""

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

    def throttle(self, size: int) -> None:
        """Wait until the rate limit permits more bytes; raises like `check`."""
        self._limiter.take(size, self._wait)

    def _wait(self, seconds: float) -> None:
        # In short steps, so that a lost lease is noticed and a low rate does not look like a hang.
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._check_after(min(left, POLL_SECONDS))

    def _check_after(self, seconds: float) -> None:
        if self._stopping(seconds):
            raise _Stopping
        self._leases.check(self._task)

    def record_upload(self, upload_id: str | None) -> None:
        """Record the multipart upload in progress."""
        self._tasks.record_upload(self._task, upload_id)


class _Stopping(Exception):
    """The worker stops, or may not copy at this time of day; the task is given back."""
