"""The threads that answer the requests of a waitress server.

waitress' own dispatcher takes a lock several times for each request, and logs a warning whenever a
request waits for a thread.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from typing import Protocol

log = logging.getLogger(__name__)

# Seconds in which requests in progress may end when the server stops, as in waitress.
_STOP_SECONDS = 5.0


class Task(Protocol):
    """A connection with a complete request."""

    def service(self) -> None:
        """Answer the request."""

    def cancel(self) -> None:
        """Close the connection without an answer."""


class TaskThreads:
    """Runs tasks in a fixed number of threads, first come, first served."""

    def __init__(self, count: int) -> None:
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._stopping = False
        self._threads = [
            threading.Thread(target=self._run, name=f"waitress-{number}", daemon=True)
            for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def add_task(self, task: Task) -> None:
        """Run a task as soon as a thread is free."""
        self._tasks.put(task)

    def shutdown(self) -> None:
        """Let running tasks end for a few seconds, and cancel those that wait."""
        self._stopping = True
        for _ in self._threads:
            self._tasks.put(None)
        deadline = time.monotonic() + _STOP_SECONDS
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0))
        if running := sum(thread.is_alive() for thread in self._threads):
            log.warning("requests still running", extra={"requests": running})

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            if self._stopping:
                task.cancel()
                continue
            try:
                task.service()
            except BaseException:
                log.exception("unhandled exception", extra={"activity": "request"})
