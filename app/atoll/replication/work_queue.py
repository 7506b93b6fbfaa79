"""Queues of claimed tasks, one for small and one for large blobs, so that neither delays the other.

One thread of each queue claims tasks, several with one statement, and others copy. Tasks of small
blobs are claimed in advance, because a site may be 100 ms away from the database. `QueueRunner`
claims one job with each statement and starts a thread for it, which would add a round trip to every
small copy.
"""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass, field

from atoll.placement.tasks import Task


@dataclass
class WorkQueue:
    """The claimed tasks of one class of blobs.

    Attributes:
        large: whether the blobs are copied in parts.
        threads: number of threads that copy.
        held_maximum: most tasks that are held, queued or in progress.
        wake: set when tasks may be due.
    """

    large: bool
    threads: int
    held_maximum: int
    wake: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._held = 0
        self._changed = threading.Condition()
        self._queue: queue.SimpleQueue[Task | None] = queue.SimpleQueue()

    def capacity(self, seconds: float) -> int:
        """Return the number of tasks to claim, after waiting until it is worth a statement.

        Args:
            seconds: the most seconds to wait.
        """
        worthwhile = max(1, (self.held_maximum - self.threads) // 2)
        with self._changed:
            self._changed.wait_for(lambda: self._capacity >= worthwhile, seconds)
            return self._capacity if self._capacity >= worthwhile else 0

    def add(self, tasks: list[Task]) -> None:
        """Queue claimed tasks."""
        with self._changed:
            self._held += len(tasks)
        for task in tasks:
            self._queue.put(task)

    def next(self) -> Task | None:
        """Wait for a task; None ends the thread."""
        return self._queue.get()

    def task_done(self) -> None:
        """Record that a task is not held any more."""
        with self._changed:
            self._held -= 1
            self._changed.notify_all()

    def end(self) -> None:
        """End each thread after the queued tasks."""
        for _ in range(self.threads):
            self._queue.put(None)
        self.wake.set()

    @property
    def _capacity(self) -> int:
        return self.held_maximum - self._held
