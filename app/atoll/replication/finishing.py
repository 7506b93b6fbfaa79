"""Finish copies together: what became ready while one statement runs goes with the next."""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Callable
from uuid import UUID

from atoll.db.pool import DatabaseUnavailable
from atoll.replication.tasks import Task, Tasks

log = logging.getLogger(__name__)

_TOGETHER_MAXIMUM = 100
_PAUSE_SECONDS = 1.0


class Finisher:
    """Writes the placements of copies that are done; safe for any thread.

    OVER is called afterwards with those whose lease was still ours, and with the others.
    """

    def __init__(self, tasks: Tasks, over: Callable[[list[Task], list[Task]], None]) -> None:
        self._tasks = tasks
        self._over = over
        self._queue: queue.SimpleQueue[Task | None] = queue.SimpleQueue()

    def add(self, task: Task) -> None:
        """Have a copy that is done written down soon."""
        self._queue.put(task)

    def end(self) -> None:
        """Let `run` return after all that was added."""
        self._queue.put(None)

    def run(self) -> None:
        """Write until `end`, and survive whatever it meets."""
        while batch := self._next():
            try:
                ours = self._tasks.finish(batch)
            except DatabaseUnavailable as error:
                # The leases are kept meanwhile, or run out and somebody else does it again.
                log.warning("copies not written down yet", extra={"cause": str(error)})
                time.sleep(_PAUSE_SECONDS)
                for task in batch:
                    self._queue.put(task)
                continue
            except Exception:
                log.exception("copies could not be written down; they are done again")
                ours = set()
            self._tell(batch, ours)

    def _tell(self, batch: list[Task], ours: set[UUID]) -> None:
        try:
            self._over(
                [task for task in batch if task.lease_token in ours],
                [task for task in batch if task.lease_token not in ours],
            )
        except Exception:
            log.exception("copies are written down, but not everybody was told")

    def _next(self) -> list[Task]:
        """Return what there is to write; nothing at the end."""
        batch: list[Task] = []
        task = self._queue.get()
        while task is not None:
            batch.append(task)
            if len(batch) == _TOGETHER_MAXIMUM or self._queue.empty():
                return batch
            task = self._queue.get()
        if batch:
            self._queue.put(None)
        return batch
