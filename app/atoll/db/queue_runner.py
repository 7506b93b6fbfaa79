"""Run claimed jobs in threads, with fair scheduling between groups such as namespaces.

Groups take turns, and each has a limited number of concurrent jobs. Jobs that hang occupy only the
threads of their own group. The runner survives every exception of a claim or a job.

Object deletions do not use it: their groups are the few configured locations, and a periodic thread
of each already isolates a hanging store, pauses after a batch without progress, and reports the
location's last success. A shared runner would need all of that again for each group, and would
query the queues of the other locations after every batch.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from atoll.periodic import ServiceUnavailable, ThreadRegistry

log = logging.getLogger(__name__)

# The default pause after a claim without result.
POLL_SECONDS = 1.0

Group = TypeVar("Group", bound=Hashable)
Job = TypeVar("Job")
# Takes the group that had the last turn, None to start with the first one, and groups to skip.
Claim = Callable[[Group | None, list[Group]], tuple[Group, Job] | None]


class QueueRunner(Generic[Group, Job]):
    """Claims jobs in one thread and runs each job in a thread of its own."""

    def __init__(
        self,
        name: str,
        claim: Claim[Group, Job],
        run: Callable[[Job], object],
        *,
        slots: int,
        per_group: int,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        """Make a runner.

        Args:
            name: the name of the threads, and of the activity in the log.
            claim: returns the next job with its group, None if no job is due.
            run: runs a job.
            slots: number of concurrent jobs.
            per_group: number of concurrent jobs of one group.
            poll_seconds: pause after a claim without result.
        """
        self._name = name
        self._claim = claim
        self._run = run
        self._per_group = per_group
        self._poll_seconds = poll_seconds
        self._slots = threading.Semaphore(slots)
        self._lock = threading.Lock()
        self._running: Counter[Group] = Counter()
        self._threads: set[threading.Thread] = set()
        self._last: Group | None = None
        self._stop = threading.Event()
        # Set when a job ended, because its group may have a turn again, and by `wake`.
        self._changed = threading.Event()
        # When a job is known to be due, on the monotonic clock.
        self._due_at = math.inf
        self._registry: ThreadRegistry | None = None
        self._claimer: threading.Thread | None = None
        self._claimer_id: int | None = None

    def start(self, registry: ThreadRegistry) -> None:
        """Start claiming jobs in a thread that `registry` watches."""
        self._registry = registry
        self._claimer = registry.start(self._name, self._claim_until_stopped)

    def wake(self) -> None:
        """Claim now instead of after the pause: jobs may be due."""
        self._changed.set()

    def wake_after(self, seconds: float) -> None:
        """Claim after some seconds instead of after a longer pause: a job will be due."""
        with self._lock:
            self._due_at = min(self._due_at, time.monotonic() + seconds)
        # A claim itself is followed by the pause, which it must not end at once.
        if threading.get_ident() != self._claimer_id:
            self._changed.set()

    def stop(self, *, wait: bool = True) -> None:
        """Stop claiming.

        Args:
            wait: also wait for jobs in progress.
        """
        self._stop.set()
        self._changed.set()
        self._slots.release()
        if self._registry is not None and self._claimer is not None:
            self._registry.forget(self._claimer)
            self._claimer.join()
        with self._lock:
            threads = list(self._threads) if wait else []
        for thread in threads:
            thread.join()

    def _claim_until_stopped(self) -> None:
        # It may claim before `start` knows the thread.
        self._claimer_id = threading.get_ident()
        while True:
            self._slots.acquire()
            if self._stop.is_set():
                return
            self._changed.clear()
            began = time.monotonic()
            self._forget_due(began)
            claimed = self._next()
            if claimed is None:
                self._slots.release()
                self._changed.wait(max(0.0, self._pause_until(began) - time.monotonic()))
            else:
                self._begin(*claimed)

    def _forget_due(self, now: float) -> None:
        """Forget jobs that are due, because they are claimed now."""
        with self._lock:
            if self._due_at <= now:
                self._due_at = math.inf

    def _pause_until(self, began: float) -> float:
        """Return when to claim again after a claim without result, on the monotonic clock."""
        with self._lock:
            return min(began + self._poll_seconds, self._due_at)

    def _next(self) -> tuple[Group, Job] | None:
        """Claim the next job; return None if none is due or the claim failed."""
        with self._lock:
            busy = [group for group, count in self._running.items() if count >= self._per_group]
        try:
            claimed = self._claim(self._last, busy)
            if claimed is None and self._last is not None:
                claimed = self._claim(None, busy)
        except ServiceUnavailable as error:
            log.warning(error.event, extra={"activity": self._name, "cause": str(error)})
            return None
        except Exception:
            log.exception("unhandled exception", extra={"activity": self._name})
            return None
        self._last = claimed[0] if claimed else None
        return claimed

    def _begin(self, group: Group, job: Job) -> None:
        thread = threading.Thread(
            target=self._work, args=(group, job), name=f"{self._name}-{group}", daemon=True
        )
        with self._lock:
            self._running[group] += 1
            self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError:
            # The system is out of threads. The job is claimed again after its lease.
            log.exception("unhandled exception", extra={"activity": self._name})
            self._ended(group, thread)

    def _work(self, group: Group, job: Job) -> None:
        try:
            self._run(job)
        except ServiceUnavailable as error:
            log.warning(error.event, extra={"activity": self._name, "cause": str(error)})
        except Exception:
            log.exception("unhandled exception", extra={"activity": self._name})
        finally:
            self._ended(group, threading.current_thread())

    def _ended(self, group: Group, thread: threading.Thread) -> None:
        with self._lock:
            self._threads.discard(thread)
            self._running[group] -= 1
            if not self._running[group]:
                del self._running[group]
        self._slots.release()
        self._changed.set()
