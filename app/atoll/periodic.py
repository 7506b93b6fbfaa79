"""Background threads that survive every exception and are visible in health.

A `ThreadRegistry` holds the background threads of a process. Health endpoints read `silent`, which
names the threads that died or hang. The metric `atoll_background_last_success_timestamp_seconds`
shows for each periodic thread when its work last succeeded, so that work which fails forever is
visible as well; `atoll_background_failures_total` counts the runs that failed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from prometheus_client import Counter, Gauge

from atoll.errors import AtollError

log = logging.getLogger(__name__)

LAST_SUCCESS = Gauge(
    "atoll_background_last_success_timestamp_seconds",
    "When the work of a background thread last succeeded, in seconds since 1970",
    ["activity"],
    multiprocess_mode="max",
)
FAILURES = Counter(
    "atoll_background_failures", "Failed runs of the work of a background thread", ["activity"]
)


class ServiceUnavailable(AtollError):
    """Base of errors that pass when a database or store is available again.

    A periodic thread logs them as `event`, without a traceback, and repeats its work.
    """

    event: ClassVar[str] = "service unavailable"


@dataclass
class _Watched:
    silence_seconds: float | None
    # When the thread last made progress; None while it waits for work, for which there is no limit.
    heard: float | None


class ThreadRegistry:
    """The background threads of a process or of a worker; safe for any thread.

    A thread that was started with a limit calls `beat` while it works, and `idle` before it waits
    for work; periodic threads do so by themselves. Calls by other threads have no effect, so that
    the same code runs without a registry.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._watched: dict[threading.Thread, _Watched] = {}
        self._reported: list[str] = []

    def start(
        self, name: str, target: Callable[[], None], silence_seconds: float | None = None
    ) -> threading.Thread:
        """Run `target` in a daemon thread that is expected to run as long as the process.

        Args:
            name: the thread's name.
            target: called once; the thread counts as dead when it has returned.
            silence_seconds: the longest time between two heartbeats, None without a limit.
        """
        thread = threading.Thread(target=target, name=name, daemon=True)
        self._start(thread, silence_seconds)
        return thread

    def repeat(
        self,
        name: str,
        seconds: float,
        work: Callable[[], object],
        *,
        delay: float = 0.0,
        pause: Callable[[float], object] | None = None,
        silence_seconds: float | None = None,
    ) -> PeriodicThread:
        """Repeat `work` in a daemon thread that survives every exception.

        Args:
            name: the thread's name, also in the log and in the metric.
            seconds: the pause between two repetitions.
            work: returns True if there is more to do, which skips the pause.
            delay: seconds before the first repetition.
            pause: called instead of waiting; takes `seconds`.
            silence_seconds: the longest time that `work` may take before the thread counts as
                hanging, None without a limit.
        """
        periodic = PeriodicThread(self, name, seconds, work, delay=delay, pause=pause)
        self._start(periodic.thread, silence_seconds)
        return periodic

    def beat(self) -> None:
        """Record that the calling thread makes progress."""
        self._set(self._monotonic())

    def idle(self) -> None:
        """Record that the calling thread waits for work until its next heartbeat."""
        self._set(None)

    def forget(self, thread: threading.Thread) -> None:
        """Stop watching a thread that ends on purpose."""
        self._watched.pop(thread, None)

    def silent(self) -> list[str]:
        """Return the names of the threads that died or hang; log when they change."""
        now = self._monotonic()
        silent = sorted(
            thread.name
            for thread, watched in list(self._watched.items())
            if not thread.is_alive() or _is_overdue(watched, now)
        )
        if silent != self._reported:
            log.log(
                logging.ERROR if silent else logging.INFO,
                "background threads silent" if silent else "background threads alive",
                extra={"threads": silent},
            )
            self._reported = silent
        return silent

    def _start(self, thread: threading.Thread, silence_seconds: float | None) -> None:
        self._watched[thread] = _Watched(silence_seconds, self._monotonic())
        thread.start()

    def _set(self, heard: float | None) -> None:
        watched = self._watched.get(threading.current_thread())
        if watched is not None:
            watched.heard = heard


class PeriodicThread:
    """One thread that repeats its work until `stop`; made by `ThreadRegistry.repeat`."""

    def __init__(
        self,
        registry: ThreadRegistry,
        name: str,
        seconds: float,
        work: Callable[[], object],
        *,
        delay: float,
        pause: Callable[[float], object] | None,
    ) -> None:
        self._registry = registry
        self._name = name
        self._seconds = seconds
        self._work = work
        self._delay = delay
        self._stopped = threading.Event()
        self._pause = pause or self._stopped.wait
        # Exported from the beginning, so that the first failure is an increase.
        self._failures = FAILURES.labels(name)
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    def stop(self) -> None:
        """Start no further repetition; returns without waiting for a running one."""
        self._registry.forget(self.thread)
        self._stopped.set()

    def join(self) -> None:
        """Wait until the thread has ended."""
        self.thread.join()

    def _run(self) -> None:
        self._registry.idle()
        self._stopped.wait(self._delay)
        while not self._stopped.is_set():
            self._registry.beat()
            more = self._run_once()
            self._registry.idle()
            if not more:
                self._pause(self._seconds)

    def _run_once(self) -> bool:
        """Do the work once, and return whether there is more to do."""
        try:
            more = self._work() is True
        except ServiceUnavailable as error:
            log.warning(error.event, extra={"activity": self._name, "cause": str(error)})
            self._failures.inc()
            return False
        except Exception:
            log.exception("unhandled exception", extra={"activity": self._name})
            self._failures.inc()
            return False
        LAST_SUCCESS.labels(self._name).set_to_current_time()
        return more


def _is_overdue(watched: _Watched, now: float) -> bool:
    if watched.silence_seconds is None or watched.heard is None:
        return False
    return now - watched.heard > watched.silence_seconds
