"""The leases that this process holds: they are extended as long as they are held."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from uuid import UUID

from atoll.db.pool import DatabaseUnavailable
from atoll.replication.tasks import LEASE_SECONDS, LeaseLost, Task, Tasks

log = logging.getLogger(__name__)

_EXTEND_SECONDS = LEASE_SECONDS / 3


class Leases:
    """Tasks that were claimed and not yet let go; safe for any thread.

    HEARD is called when there are some, for a worker that is busy is alive.
    """

    def __init__(self, tasks: Tasks, heard: Callable[[], None]) -> None:
        self._tasks = tasks
        self._heard = heard
        self._held: dict[UUID, Task] = {}
        self._lost: set[UUID] = set()
        self._lock = threading.Lock()

    def hold(self, tasks: list[Task]) -> None:
        """Keep these from now on."""
        with self._lock:
            self._held.update((task.lease_token, task) for task in tasks)

    def let_go(self, task: Task) -> None:
        """Keep this no more."""
        with self._lock:
            self._held.pop(task.lease_token, None)
            self._lost.discard(task.lease_token)

    def check(self, task: Task) -> None:
        """Raise LeaseLost if it is known that the task may be somebody else's."""
        with self._lock:
            if task.lease_token in self._lost:
                raise LeaseLost(str(task.digest))

    def keep_for_ever(self) -> None:
        """Extend what is held, again and again."""
        while True:
            time.sleep(_EXTEND_SECONDS)
            self.extend()

    def extend(self) -> None:
        """Extend what is held, and note what is ours no longer."""
        with self._lock:
            held = dict(self._held)
        if not held:
            return
        self._heard()
        try:
            kept = self._tasks.extend(list(held.values()))
        except DatabaseUnavailable as error:
            log.warning("leases not extended", extra={"cause": str(error)})
            return
        with self._lock:
            self._lost |= (held.keys() - kept) & self._held.keys()
