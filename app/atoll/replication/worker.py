"""A site's replication worker: it pulls what the site's own location lacks.

In each lane a thread claims tasks and others copy; one writes down what is done, one keeps the
leases, one listens to the bell. Nothing here is needed for correctness but the task table: any
thread, or the whole worker, may die at any line.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from functools import partial

from prometheus_client import Counter

from atoll.config.limits import ReplicationLimit
from atoll.db.pool import Database, DatabaseUnavailable
from atoll.replication.bell import listen_for_ever
from atoll.replication.copy import Copier
from atoll.replication.doubts import Doubts
from atoll.replication.finishing import Finisher
from atoll.replication.lanes import Lane
from atoll.replication.leases import Leases
from atoll.replication.own_copies import OwnCopies
from atoll.replication.pace import Pace
from atoll.replication.plausibility import RecentReads
from atoll.replication.source import WrongContent
from atoll.replication.tasks import LeaseLost, Task, Tasks
from atoll.storage.errors import ObjectMissing, StoreError
from atoll.storage.locations import Locations

log = logging.getLogger(__name__)

# Seconds. Polling is the truth, the bell only makes it sooner; jitter keeps sites from marching.
POLL_SECONDS = 5.0
_JITTER = 0.2
# A thread that was not heard of for so long, while it should poll, is stuck.
_SILENCE_SECONDS = 6 * POLL_SECONDS
# For each large copy at once: threads for small ones, and tasks of small ones that are held.
_SMALL_THREADS = 4
_SMALL_HELD = 16

COPIED = Counter("atoll_replication_copied", "Blobs copied and placed", ["location"])
COPIED_BYTES = Counter("atoll_replication_copied_bytes", "Bytes of those blobs", ["location"])
FAILED = Counter("atoll_replication_failed", "Attempts that failed", ["location", "reason"])


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
    ) -> None:
        self._location = locations.preference[0]
        self._database = database
        self._tasks = Tasks(database, self._location)
        self._locations = locations
        self._copier = Copier(locations.stores, self._location)
        self._own_copies = OwnCopies(locations.stores[self._location], monotonic=monotonic)
        self._doubts = Doubts(database, self._location, recent or RecentReads(monotonic=monotonic))
        self._pace = Pace(limit)
        self._forget_cached = forget_cached
        self._monotonic = monotonic
        self._heard = monotonic()
        self._stop = threading.Event()
        self._leases = Leases(self._tasks, self._hear)
        self._finisher = Finisher(self._tasks, self._finished)
        self._lanes = {
            True: Lane(large=True, threads=copies, held_maximum=copies),
            False: Lane(
                large=False, threads=_SMALL_THREADS * copies, held_maximum=_SMALL_HELD * copies
            ),
        }
        self._claimers: list[threading.Thread] = []
        self._copiers: list[threading.Thread] = []

    def start(self) -> None:
        """Start all threads."""
        _start(self._leases.keep_for_ever, "leases")
        _start(self._listen, "bell")
        self._finishing = _start(self._finisher.run, "finish")
        for lane in self._lanes.values():
            self._claimers.append(_start(partial(self._claim_for_ever, lane), "claim"))
            for number in range(lane.threads):
                copy = partial(self._copy_for_ever, lane)
                self._copiers.append(_start(copy, f"copy-{number}"))

    def stop(self) -> None:
        """Give back what is not copied, write down what is, and wait until all threads ended."""
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

    @property
    def alive(self) -> bool:
        """Tell whether a claiming thread or a lease was heard of lately."""
        return self._monotonic() - self._heard < _SILENCE_SECONDS

    def _hear(self) -> None:
        self._heard = self._monotonic()

    def _wake(self) -> None:
        for lane in self._lanes.values():
            lane.wake.set()

    def _listen(self) -> None:
        listen_for_ever(self._database, self._location, POLL_SECONDS, self._wake)

    def _claim_for_ever(self, lane: Lane) -> None:
        while not self._stop.is_set():
            room = lane.room(POLL_SECONDS)
            # Before the claim, so that a task which is written after it is not slept over.
            lane.wake.clear()
            if room == 0 or self._claim(lane, room) == room:
                continue
            self._hear()
            lane.wake.wait(POLL_SECONDS * random.uniform(1 - _JITTER, 1 + _JITTER))  # noqa: S311

    def _claim(self, lane: Lane, limit: int) -> int:
        """Claim for LANE if that makes sense now, and survive whatever that meets."""
        if not (self._pace.open and self._locations.health.takes_objects(self._location)):
            return 0
        try:
            tasks = self._tasks.claim(large=lane.large, limit=limit)
        except DatabaseUnavailable as error:
            log.warning("PostgreSQL is away", extra={"cause": str(error)})
            return 0
        except Exception:
            log.exception("tasks could not be claimed for a reason that nobody thought of")
            return 0
        self._leases.hold(tasks)
        lane.add(tasks)
        return len(tasks)

    def _copy_for_ever(self, lane: Lane) -> None:
        while task := lane.next():
            try:
                self._carry_out(task)
            except DatabaseUnavailable as error:
                log.warning("PostgreSQL is away", extra={"cause": str(error)})
                self._over(task)
            except Exception:
                # A bug in one task must not end the thread that would do all the others.
                log.exception("a task failed for a reason that nobody thought of")
                self._over(task)

    def _carry_out(self, task: Task) -> None:
        """Copy, and let it be written down; or give the task back."""
        fields = {"digest": str(task.digest), "size": task.size, "location": self._location}
        try:
            self._copy(task)
        except LeaseLost:
            log.warning("lease lost; somebody else goes on with it", extra=fields)
            FAILED.labels(self._location, "lease lost").inc()
        except _Stopping:
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
            self._tasks.release(task, str(error))
        else:
            self._finisher.add(task)
            return
        self._over(task)

    def _copy(self, task: Task) -> None:
        hold = _Hold(task, self._tasks, self._leases, self._pace, self._stop)
        hold.check()
        if self._own_copies.restorable(task, hold):
            log.info("copy in quarantine is right", extra={"digest": str(task.digest)})
            return
        sources = self._locations.chooser.to_read(
            [name for name in task.placements if name != self._location]
        )
        # After wrong bytes of several sources, each is tried alone, in turn, to find the culprit.
        if task.attempts > 1:
            turn = (task.attempts - 1) % len(sources)
            sources = sources[turn:] + sources[:turn]
        sources.sort(key=task.doubted.__contains__)
        used = self._copier.copy(task.digest, task.size, sources, hold, task.upload_id)
        self._doubts.right(task, used)

    def _finished(self, placed: list[Task], lost: list[Task]) -> None:
        """Tell of copies that were written down, and let all go."""
        try:
            self._tell(placed, lost)
        finally:
            for task in (*placed, *lost):
                self._over(task)

    def _tell(self, placed: list[Task], lost: list[Task]) -> None:
        if placed:
            self._forget_cached(placed)
            COPIED.labels(self._location).inc(len(placed))
            COPIED_BYTES.labels(self._location).inc(sum(task.size for task in placed))
        for task in placed:
            fields = {"digest": str(task.digest), "size": task.size, "location": self._location}
            log.info("blob copied", extra=fields)
        if lost:
            FAILED.labels(self._location, "lease lost").inc(len(lost))

    def _over(self, task: Task) -> None:
        """Let a task go: it is written down, given back or lost."""
        self._leases.let_go(task)
        self._lanes[task.large].over()


class _Hold:
    """What a copy of TASK has to do with this process."""

    def __init__(
        self, task: Task, tasks: Tasks, leases: Leases, pace: Pace, stop: threading.Event
    ) -> None:
        self._task = task
        self._tasks = tasks
        self._leases = leases
        self._pace = pace
        self._stop = stop

    def check(self) -> None:
        """Raise _Stopping or LeaseLost if it is to stop."""
        if self._stop.is_set() or not self._pace.open:
            raise _Stopping
        self._leases.check(self._task)

    def pace(self, size: int) -> None:
        """Wait until SIZE more bytes may be written. Raises what `check` raises."""
        self._pace.take(size, self._wait)

    def _wait(self, seconds: float) -> None:
        self._stop.wait(seconds)
        self.check()

    def remember(self, upload_id: str | None) -> None:
        """Note the upload that is under way."""
        self._tasks.remember_upload(self._task, upload_id)


class _Stopping(Exception):
    """The worker was asked to stop, or its hours are over; its task goes back at once."""


def _start(target: Callable[[], None], name: str) -> threading.Thread:
    thread = threading.Thread(target=target, name=name, daemon=True)
    thread.start()
    return thread
