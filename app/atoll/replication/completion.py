"""Record finished copies in batches: copies that finish during a statement share the next one."""

from __future__ import annotations

import logging
import queue
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from atoll.db.transient import is_transient, was_answered
from atoll.periodic import ThreadRegistry
from atoll.placement.tasks import Task, Tasks

log = logging.getLogger(__name__)

_TOGETHER_MAXIMUM = 100
# Refusals after which a task is recorded by a statement of its own, so that one bad row cannot
# delay the others, and after which it is given up unless the error is transient.
_TOGETHER_REFUSALS = 2
_REFUSALS_MAXIMUM = 4
# Attempts for each task while the worker stops.
_LAST_ATTEMPTS = 3
# Seconds before the next attempt after a refusal: they double up to a maximum.
_PAUSE_SECONDS, _PAUSE_MAXIMUM = 0.1, 5.0
# Seconds before the next attempt after the database did not respond.
_UNAVAILABLE_SECONDS = 1.0


@dataclass
class _Entry:
    """A copy to be recorded."""

    task: Task
    due: float = 0.0
    refusals: int = 0
    last_attempts: int = 0


class Finisher:
    """Writes the placements of finished copies; `add` is safe for any thread.

    Args:
        recorded: called with the tasks that were recorded and those whose lease was lost.
        refused: called with each task that cannot be recorded, and the error.
    """

    def __init__(
        self,
        tasks: Tasks,
        threads: ThreadRegistry,
        *,
        recorded: Callable[[list[Task], list[Task]], None],
        refused: Callable[[Task, Exception], None],
    ) -> None:
        self._tasks = tasks
        self._threads = threads
        self._recorded = recorded
        self._refused = refused
        self._queue: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._pending: list[_Entry] = []
        self._ending = False

    def add(self, task: Task) -> None:
        """Queue a finished copy."""
        self._queue.put(task)

    def end(self) -> None:
        """Make `run` return after all queued copies were recorded or given up."""
        self._queue.put(None)

    def run(self) -> None:
        """Record copies until `end`. A failed batch is retried while its leases are extended."""
        while self._collect():
            now = time.monotonic()
            due = [entry for entry in self._pending if entry.due <= now]
            self._pending = [entry for entry in self._pending if entry.due > now]
            together = [entry for entry in due if entry.refusals < _TOGETHER_REFUSALS]
            for start in range(0, len(together), _TOGETHER_MAXIMUM):
                self._record(together[start : start + _TOGETHER_MAXIMUM])
            for entry in due:
                if entry.refusals >= _TOGETHER_REFUSALS and entry not in together:
                    self._record([entry])

    def _collect(self) -> bool:
        """Wait for copies; return False at the end."""
        timeout = None
        if self._pending:
            timeout = max(0.0, min(entry.due for entry in self._pending) - time.monotonic())
        elif self._ending:
            return False
        else:
            self._threads.idle()
        try:
            task = self._queue.get(timeout=timeout)
        except queue.Empty:
            self._threads.beat()
            return True
        self._threads.beat()
        added = 1
        while True:
            if task is None:
                self._ending = True
            else:
                self._pending.append(_Entry(task))
            if added == _TOGETHER_MAXIMUM or self._queue.empty():
                return bool(self._pending) or not self._ending
            task = self._queue.get()
            added += 1

    def _record(self, entries: list[_Entry]) -> None:
        self._threads.beat()
        try:
            ours = self._tasks.finish([entry.task for entry in entries])
        except Exception as error:
            fields = {"copies": len(entries), "cause": str(error)}
            log.warning("copies not recorded yet", extra=fields, exc_info=not is_transient(error))
            for entry in entries:
                self._retry(entry, error)
            return
        self._report([entry.task for entry in entries], ours)

    def _retry(self, entry: _Entry, error: Exception) -> None:
        """Schedule another attempt, or give the entry up, so that the blob is copied again."""
        pause = _UNAVAILABLE_SECONDS
        if was_answered(error) or not is_transient(error):
            entry.refusals += 1
            pause = min(_PAUSE_SECONDS * 2 ** min(entry.refusals, 10), _PAUSE_MAXIMUM)
        entry.last_attempts += self._ending
        hopeless = entry.refusals >= _REFUSALS_MAXIMUM and not is_transient(error)
        if hopeless or entry.last_attempts >= _LAST_ATTEMPTS:
            self._give_up(entry.task, error)
            return
        # Jitter, so that statements that collided do not collide again.
        entry.due = time.monotonic() + pause * random.uniform(0.5, 1)  # noqa: S311
        self._pending.append(entry)

    def _give_up(self, task: Task, error: Exception) -> None:
        try:
            self._refused(task, error)
        except Exception:
            log.exception("unhandled exception after a copy that was not recorded")

    def _report(self, batch: list[Task], ours: set[UUID]) -> None:
        try:
            self._recorded(
                [task for task in batch if task.lease_token in ours],
                [task for task in batch if task.lease_token not in ours],
            )
        except Exception:
            log.exception("unhandled exception after copies were recorded")
