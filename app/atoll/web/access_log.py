"""The access log: one line of JSON per request, formatted without `logging`.

The fields are those of every other line of the log. In a process that serves many requests, a
background thread writes the lines, several with one system call. A process that is stopped writes
the rest first; one that is killed loses the lines of the last fraction of a second.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii as quoted

from atoll import logs
from atoll.periodic import PeriodicThread, ThreadRegistry

# Seconds between writes, and lines that wait at most: the request that adds another one writes them
# itself, so none is dropped while standard error is slow.
_WRITE_SECONDS = 0.2
_WAITING_MAXIMUM = 2000
# The time that a write may take before the thread counts as hanging.
_SILENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Access:
    """One request.

    Attributes:
        request: its id.
        method: its method.
        path: its path, without the query, which may contain signatures.
        status: the status of the response.
        milliseconds: its duration.
        client: the client's address.
    """

    request: str
    method: str
    path: str
    status: int
    milliseconds: float
    client: str


class AccessLog:
    """Writes the access log to standard error; safe for any thread.

    Until `start` and after `stop`, each line is written at once.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._waiting: deque[str] = deque()
        self._writing = threading.Lock()
        self._thread: PeriodicThread | None = None
        # The text of the current second, which most lines share.
        self._second: tuple[int, str] = (-1, "")

    def note(self, access: Access) -> None:
        """Log a request now; the line is written soon."""
        self._waiting.append(self._line(access))
        if self._thread is None or len(self._waiting) > _WAITING_MAXIMUM:
            self._write()

    def start(self, registry: ThreadRegistry) -> None:
        """Start writing in the background."""
        self._thread = registry.repeat(
            "access-log",
            _WRITE_SECONDS,
            self._write,
            delay=_WRITE_SECONDS,
            silence_seconds=_SILENCE_SECONDS,
        )

    def stop(self) -> None:
        """Stop the thread, and write the waiting lines."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.stop()
            self._write()

    def _write(self) -> None:
        # The lock keeps the lines of two writers in order.
        with self._writing:
            lines = [self._waiting.popleft() for _ in range(len(self._waiting))]
            if lines:
                logs.write_lines(lines)

    def _line(self, access: Access) -> str:
        now = self._clock()
        second = int(now)
        known, text = self._second
        if known != second:
            text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = (second, text)
        return (
            f'{{"time": "{text}.{int((now - second) * 1000):03}+00:00", "level": "info", '
            f'"logger": "atoll.access", "message": "request", '
            f'"request": {quoted(access.request)}, "method": {quoted(access.method)}, '
            f'"path": {quoted(access.path)}, "status": {access.status}, '
            f'"milliseconds": {access.milliseconds}, "client": {quoted(access.client)}}}\n'
        )
