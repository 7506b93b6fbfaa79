"""Run claimed jobs in threads, with fair scheduling between groups such as namespaces.

Groups take turns, and the number of concurrent jobs of each group is limited. Receivers that do not
respond occupy threads of their own group only.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from atoll.db.pool import DatabaseUnavailable

log = logging.getLogger(__name__)

_POLL_SECONDS = 1.0

Group = TypeVar("Group", bound=Hashable)
Job = TypeVar("Job")
# Parameters: the group of the last job (None to start with the first), and groups to skip.
Claim = Callable[[Group | None, list[Group]], tuple[Group, Job] | None]


class FairDispatcher(Generic[Group, Job]):
    """Claims jobs in one thread and runs each in its own thread."""

    def __init__(
        self,
        name: str,
        claim: Claim[Group, Job],
        run: Callable[[Job], object],
        *,
        slots: int,
        per_group: int,
        poll_seconds: float = _POLL_SECONDS,
    ) -> None:
        """Initialize the dispatcher.

        Args:
            name: The name of the threads, and of the activity in the log.
            claim: Claims the next job and returns it with its group; None if there is none.
            run: Runs a job.
            slots: The number of concurrent jobs.
            per_group: The number of concurrent jobs of one group.
            poll_seconds: The pause after a claim without a job.
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
        # Set at the end of a job, because another job of its group may be claimed.
        self._changed = threading.Event()
        self._dispatcher = threading.Thread(target=self._dispatch, name=name, daemon=True)

    def start(self) -> None:
        """Start claiming jobs in the background."""
        self._dispatcher.start()

    def stop(self) -> None:
        """Stop claiming jobs, and wait for running ones."""
        self._stop.set()
        self._changed.set()
        self._slots.release()
        self._dispatcher.join()
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join()

    def _dispatch(self) -> None:
        while True:
            self._slots.acquire()
            if self._stop.is_set():
                return
            self._changed.clear()
            claimed = self._next()
            if claimed is None:
                self._slots.release()
                self._changed.wait(self._poll_seconds)
            else:
                self._begin(*claimed)

    def _next(self) -> tuple[Group, Job] | None:
        """Claim the next job; every exception is logged."""
        with self._lock:
            busy = [group for group, count in self._running.items() if count >= self._per_group]
        try:
            claimed = self._claim(self._last, busy)
            if claimed is None and self._last is not None:
                claimed = self._claim(None, busy)
        except DatabaseUnavailable as error:
            log.warning("database unavailable", extra={"activity": self._name, "cause": str(error)})
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
            # The system is out of threads. The job is claimed again after its lease expires.
            log.exception("unhandled exception", extra={"activity": self._name})
            self._ended(group, thread)

    def _work(self, group: Group, job: Job) -> None:
        try:
            self._run(job)
        except DatabaseUnavailable as error:
            log.warning("database unavailable", extra={"activity": self._name, "cause": str(error)})
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
