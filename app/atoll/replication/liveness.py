"""Heartbeats of a worker's threads: one that died or hangs makes the worker unhealthy."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

log = logging.getLogger(__name__)


@dataclass
class _Watched:
    thread: threading.Thread
    silence_seconds: float
    # None while it waits for work, for which there is no limit.
    heard: float | None


class Liveness:
    """The threads of one worker; safe for any thread.

    A thread calls `beat` while it works and `idle` before it waits for work. Calls by other threads
    have no effect, so that the same code runs without a worker.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._watched: dict[threading.Thread, _Watched] = {}
        self._reported: list[str] = []

    def start(
        self, name: str, target: Callable[[], None], silence_seconds: float
    ) -> threading.Thread:
        """Run TARGET in a daemon thread whose heartbeats are at most SILENCE_SECONDS apart."""
        thread = threading.Thread(target=target, name=name, daemon=True)
        self._watched[thread] = _Watched(thread, silence_seconds, self._monotonic())
        thread.start()
        return thread

    def beat(self) -> None:
        """Record that the calling thread makes progress."""
        self._set(self._monotonic())

    def idle(self) -> None:
        """Record that the calling thread waits for work until its next heartbeat."""
        self._set(None)

    def silent(self) -> list[str]:
        """Return the names of the threads that died or hang; log when they change."""
        now = self._monotonic()
        silent = sorted(
            watched.thread.name
            for watched in list(self._watched.values())
            if not watched.thread.is_alive()
            or (watched.heard is not None and now - watched.heard > watched.silence_seconds)
        )
        if silent != self._reported:
            log.log(
                logging.ERROR if silent else logging.INFO,
                "replication threads silent" if silent else "replication threads alive",
                extra={"threads": silent},
            )
            self._reported = silent
        return silent

    def _set(self, heard: float | None) -> None:
        watched = self._watched.get(threading.current_thread())
        if watched is not None:
            watched.heard = heard
