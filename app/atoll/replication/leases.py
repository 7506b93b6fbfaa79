"""Renew the leases of the tasks that this process holds, in the background."""

from __future__ import annotations

import logging
import threading
from uuid import UUID

from atoll.db.leased_queue import LeaseLost
from atoll.db.transient import is_transient
from atoll.periodic import ThreadRegistry
from atoll.placement.tasks import LEASE_SECONDS, Task, Tasks

log = logging.getLogger(__name__)


class Leases:
    """Claimed tasks that are still being worked on; safe for any thread."""

    def __init__(
        self, tasks: Tasks, threads: ThreadRegistry, *, lease_seconds: float = LEASE_SECONDS
    ) -> None:
        self._tasks = tasks
        self._threads = threads
        self._interval = lease_seconds / 3
        self._held: dict[UUID, Task] = {}
        self._lost: set[UUID] = set()
        self._lock = threading.Lock()

    def hold(self, tasks: list[Task]) -> None:
        """Renew the leases of TASKS from now on."""
        with self._lock:
            self._held.update((task.lease_token, task) for task in tasks)

    def let_go(self, task: Task) -> None:
        """Stop renewing the lease of TASK."""
        with self._lock:
            self._held.pop(task.lease_token, None)
            self._lost.discard(task.lease_token)

    def ids(self) -> list[int]:
        """Return the ids of the tasks held, which this process must not claim again.

        A lease can expire while the copy is still under way, as when the database was unavailable.
        """
        with self._lock:
            return [task.id for task in self._held.values()]

    def check(self, task: Task) -> None:
        """Raise LeaseLost if another worker is known to have claimed TASK, or it is gone."""
        with self._lock:
            if task.lease_token in self._lost:
                raise LeaseLost(str(task.digest))

    def renew_until(self, stop: threading.Event) -> None:
        """Renew until STOP is set, whatever the database answers."""
        renewed = True
        while not stop.wait(self._interval if renewed else self._interval / 10):
            self._threads.beat()
            renewed = self.renew()

    def renew(self) -> bool:
        """Renew all leases and record the lost ones; return False if that failed."""
        with self._lock:
            held = dict(self._held)
        if not held:
            return True
        try:
            kept = self._tasks.extend(list(held.values()))
        except Exception as error:
            # The thread must survive any error: without renewals no long copy can ever finish.
            fields = {"leases": len(held), "cause": str(error)}
            log.warning("leases not renewed", extra=fields, exc_info=not is_transient(error))
            return False
        with self._lock:
            lost = (held.keys() - kept) & self._held.keys()
            self._lost |= lost
        return True
