"""Extend the leases of tasks in progress in the background."""

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
    """The tasks in progress in this process. Thread-safe."""

    def __init__(
        self, tasks: Tasks, threads: ThreadRegistry, *, lease_seconds: float = LEASE_SECONDS
    ) -> None:
        self._tasks = tasks
        self._threads = threads
        self._interval = lease_seconds / 3
        self._held: dict[UUID, Task] = {}
        self._lost: set[UUID] = set()
        self._lock = threading.Lock()

    def add(self, tasks: list[Task]) -> None:
        """Extend the leases of tasks from now on."""
        with self._lock:
            self._held.update((task.lease_token, task) for task in tasks)

    def remove(self, task: Task) -> None:
        """Stop extending the lease of a task."""
        with self._lock:
            self._held.pop(task.lease_token, None)
            self._lost.discard(task.lease_token)

    def ids(self) -> list[int]:
        """Return the ids of tasks in progress, which this process must not claim again.

        A lease can expire during the copy, for example while the database is unavailable.
        """
        with self._lock:
            return [task.id for task in self._held.values()]

    def check(self, task: Task) -> None:
        """Raise LeaseLost if the lease of a task is known to be lost."""
        with self._lock:
            if task.lease_token in self._lost:
                raise LeaseLost(str(task.digest))

    def renew_until(self, stop: threading.Event) -> None:
        """Extend leases until `stop` is set, and survive every failure."""
        renewed = True
        while not stop.wait(self._interval if renewed else self._interval / 10):
            self._threads.beat()
            renewed = self.renew()

    def renew(self) -> bool:
        """Extend all leases and record lost ones; return False if that failed."""
        with self._lock:
            held = dict(self._held)
        if not held:
            return True
        try:
            kept = self._tasks.extend(list(held.values()))
        except Exception as error:
            # The thread must survive any error, because long copies depend on extended leases.
            fields = {"leases": len(held), "cause": str(error)}
            log.warning("leases not extended", extra=fields, exc_info=not is_transient(error))
            return False
        with self._lock:
            lost = (held.keys() - kept) & self._held.keys()
            self._lost |= lost
        return True
