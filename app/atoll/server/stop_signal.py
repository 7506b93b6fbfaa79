"""The request to stop a process, set by a signal.

`threading.Event` is unsuitable: a handler that sets it while the main thread is about to wait for
it, or returns from that, waits for a lock of the main thread itself, so the process never ends.
"""

from __future__ import annotations

import queue
import signal


class StopSignal:
    """Set once by SIGTERM or SIGINT; only one thread may wait for it."""

    def __init__(self) -> None:
        # Its `put` may interrupt its `get`.
        self._wake_ups: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._is_set = False

    def listen(self) -> None:
        """Handle SIGTERM and SIGINT."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_signal: self.set())

    def set(self) -> None:
        """Request the stop."""
        self._is_set = True
        self._wake_ups.put(None)

    def is_set(self) -> bool:
        """Return whether the stop was requested."""
        return self._is_set

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for the request, for at most `seconds`, and return whether it was made."""
        if not self._is_set:
            try:
                self._wake_ups.get(timeout=seconds)
            except queue.Empty:
                return self._is_set
        return True
