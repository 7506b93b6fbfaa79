"""A site's replication worker: it pulls what the site's own location lacks.

Threads claim tasks and copy; one thread keeps the leases; one listens to the bell. Nothing here
is needed for correctness but the task table: any thread, or the whole worker, may die at any line.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from uuid import UUID

from prometheus_client import Counter

from atoll.db.pool import Database, DatabaseUnavailable
from atoll.db.shared_redis import SharedRedis
from atoll.replication.copy import Copier, WrongContent
from atoll.replication.tasks import LEASE_SECONDS, LeaseLost, Task, Tasks
from atoll.storage.errors import StoreError, StoreUnavailable
from atoll.storage.locations import Locations

log = logging.getLogger(__name__)

# Seconds. Polling is the truth, the bell only makes it sooner; jitter keeps sites from marching.
POLL_SECONDS = 5.0
_JITTER = 0.2
_EXTEND_SECONDS = LEASE_SECONDS / 3
# A thread that was not heard of for so long, while it should poll, is stuck.
_SILENCE_SECONDS = 6 * POLL_SECONDS

COPIED = Counter("atoll_replication_copied", "Blobs copied and placed", ["location"])
COPIED_BYTES = Counter("atoll_replication_copied_bytes", "Bytes of those blobs", ["location"])
FAILED = Counter("atoll_replication_failed", "Attempts that failed", ["location", "reason"])


def bell(location: str) -> str:
    """Return the channel that is rung when there is a task for LOCATION."""
    return f"atoll:replication:{location}"


class Worker:
    """Copies to the first location of this site's preference."""

    def __init__(
        self,
        database: Database,
        redis: SharedRedis,
        locations: Locations,
        *,
        threads: int,
        forget_cached: Callable[[Task], None] = lambda _task: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._location = locations.preference[0]
        self._tasks = Tasks(database, self._location)
        self._redis = redis
        self._locations = locations
        self._copier = Copier(locations.stores, self._location)
        self._threads = threads
        self._forget_cached = forget_cached
        self._monotonic = monotonic
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._leases: set[UUID] = set()
        self._lost: set[UUID] = set()
        self._lock = threading.Lock()
        self._heard = monotonic()

    def start(self) -> list[threading.Thread]:
        """Start all threads and return those that copy, to be joined after `stop`."""
        for target in (self._keep_leases, self._listen):
            threading.Thread(target=target, name=target.__name__, daemon=True).start()
        copiers = [
            threading.Thread(target=self._copy_for_ever, name=f"copy-{number}", daemon=True)
            for number in range(self._threads)
        ]
        for thread in copiers:
            thread.start()
        return copiers

    def stop(self) -> None:
        """Ask the copying threads to end after giving back what they hold."""
        self._stop.set()
        self._wake.set()

    @property
    def alive(self) -> bool:
        """Tell whether a copying thread or a lease was heard of lately."""
        return self._monotonic() - self._heard < _SILENCE_SECONDS

    def run_once(self) -> bool:
        """Claim one task and carry it out; tell whether there was one."""
        task = self._tasks.claim()
        self._heard = self._monotonic()
        if task is None:
            return False
        with self._lock:
            self._leases.add(task.lease_token)
        try:
            self._carry_out(task)
        finally:
            with self._lock:
                self._leases.discard(task.lease_token)
                self._lost.discard(task.lease_token)
        return True

    def _carry_out(self, task: Task) -> None:
        fields = {"digest": str(task.digest), "size": task.size, "location": self._location}
        try:
            self._copy(task)
            self._tasks.finish(task)
        except LeaseLost:
            log.warning("lease lost; somebody else goes on with it", extra=fields)
            FAILED.labels(self._location, "lease lost").inc()
        except WrongContent as error:
            log.error("blob has other bytes than its digest says", extra=fields)
            FAILED.labels(self._location, "wrong content").inc()
            if len(error.sources) == 1:
                self._tasks.suspect(task, error.sources[0])
            self._tasks.release(task, str(error))
        except (StoreError, _Stopping) as error:
            log.warning("blob not copied yet", extra={**fields, "cause": str(error)})
            FAILED.labels(self._location, type(error).__name__).inc()
            self._tasks.release(task, str(error))
        else:
            COPIED.labels(self._location).inc()
            COPIED_BYTES.labels(self._location).inc(task.size)
            self._forget_cached(task)
            log.info("blob copied", extra=fields)

    def _copy(self, task: Task) -> None:
        if task.abandoned_upload is not None:
            self._copier.abort(task.digest, task.abandoned_upload)
            self._tasks.remember_upload(task, None)
        sources = self._locations.chooser.to_read(
            [name for name in task.placements if name != self._location],
            [name for name in task.suspects if name != self._location],
        )
        # After wrong bytes of several sources, each is tried alone, in turn, to find the culprit.
        if task.attempts > 1:
            turn = (task.attempts - 1) % len(sources)
            sources = sources[turn:] + sources[:turn]
        self._copier.copy(
            task.digest,
            task.size,
            sources,
            still_ours=lambda: self._check(task),
            on_upload=lambda upload_id: self._tasks.remember_upload(task, upload_id),
        )

    def _check(self, task: Task) -> None:
        if self._stop.is_set():
            raise _Stopping("the worker is stopping")
        with self._lock:
            if task.lease_token in self._lost:
                raise LeaseLost(str(task.digest))

    def _copy_for_ever(self) -> None:
        while not self._stop.is_set():
            if not self._turn():
                self._heard = self._monotonic()
                self._wake.wait(POLL_SECONDS * random.uniform(1 - _JITTER, 1 + _JITTER))  # noqa: S311
                self._wake.clear()

    def _turn(self) -> bool:
        """Do one task if that makes sense now, and survive whatever it meets."""
        if not self._locations.health.is_up(self._location):
            return False
        try:
            return self.run_once()
        except DatabaseUnavailable as error:
            log.warning("PostgreSQL is away", extra={"cause": str(error)})
        except StoreUnavailable as error:
            log.warning("store is away", extra={"cause": str(error)})
        except Exception:
            # A bug in one task must not end the thread that would do all the others.
            log.exception("a task failed for a reason that nobody thought of")
        return False

    def _keep_leases(self) -> None:
        while True:
            time.sleep(_EXTEND_SECONDS)
            with self._lock:
                held = set(self._leases)
            if not held:
                continue
            self._heard = self._monotonic()
            try:
                kept = self._tasks.extend(list(held))
            except DatabaseUnavailable as error:
                log.warning("leases not extended", extra={"cause": str(error)})
                continue
            with self._lock:
                self._lost |= (held - kept) & self._leases

    def _listen(self) -> None:
        for rang in self._redis.listen(bell(self._location), POLL_SECONDS):
            if rang:
                self._wake.set()


class _Stopping(Exception):
    """The worker was asked to stop; its task goes back at once."""
