"""Lanes: small and large blobs are claimed and copied apart; neither waits behind the other.

Within a lane one thread claims, several tasks with one statement, and others carry them out. Of
small blobs some are claimed ahead: a site may be a tenth of a second away from the database.
"""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass, field

from atoll.placement.tasks import Task


@dataclass
class Lane:
    """One class of blobs: how many THREADS copy them, and how many tasks may be HELD at once."""

    large: bool
    threads: int
    held_maximum: int
    wake: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._held = 0
        self._changed = threading.Condition()
        self._queue: queue.SimpleQueue[Task | None] = queue.SimpleQueue()

    def room(self, seconds: float) -> int:
        """Return how many tasks to claim, waiting up to SECONDS until that is worth a statement."""
        worthwhile = max(1, (self.held_maximum - self.threads) // 2)
        with self._changed:
            self._changed.wait_for(lambda: self._room >= worthwhile, seconds)
            return self._room if self._room >= worthwhile else 0

    def add(self, tasks: list[Task]) -> None:
        """Queue what was claimed."""
        with self._changed:
            self._held += len(tasks)
        for task in tasks:
            self._queue.put(task)

    def next(self) -> Task | None:
        """Wait for a task; None means to end."""
        return self._queue.get()

    def over(self) -> None:
        """Count one task less: it is finished or given back."""
        with self._changed:
            self._held -= 1
            self._changed.notify_all()

    def end(self) -> None:
        """Let each thread end after what is queued."""
        for _ in range(self.threads):
            self._queue.put(None)
        self.wake.set()

    @property
    def _room(self) -> int:
        return self.held_maximum - self._held
