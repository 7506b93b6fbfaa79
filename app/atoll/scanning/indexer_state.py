"""The state of the scanner's indexer: images are indexed again after it changed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from atoll.scanning.clairs import Clairs


class IndexerState:
    """Reads the state from the nearest available Clair, at most once per interval; thread-safe."""

    def __init__(
        self, clairs: Clairs, *, seconds: float, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Provide the state.

        Args:
            clairs: The Clairs, which share one state.
            seconds: How long a state that was read is used.
            monotonic: The clock, in seconds.
        """
        self._clairs = clairs
        self._seconds = seconds
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._state = ""
        self._expires = float("-inf")

    def current(self) -> str:
        """Return the state.

        Raises:
            ScannerError: No Clair is available, or it does not respond as expected.
        """
        with self._lock:
            if self._monotonic() >= self._expires:
                self._state = self._clairs.first(lambda client: client.index_state())
                self._expires = self._monotonic() + self._seconds
            return self._state
