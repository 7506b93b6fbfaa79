"""Plausibility of defects: results of recent reads, and whether too many of them are wrong.

Damage affects single objects. If many objects of one location are wrong at once, the cause is
almost always between the reader and the objects: a proxy that answers with its own page, a broken
backend behind a load balancer, a mistyped bucket, the reader's own memory.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from prometheus_client import Gauge

log = logging.getLogger(__name__)

# Up to five wrong objects are always plausible, so that a small registry repairs damage without an
# operator. Beyond that, a tenth of an hour's reads is far more than disks damage, and less than the
# mildest common fault of a network path causes, one broken backend out of several.
WRONG_MAXIMUM, WRONG_SHARE = 5, 0.1
WINDOW_SECONDS = 3600.0
# Objects of one location that are remembered. The oldest are dropped first.
_REMEMBERED = 10_000

IMPLAUSIBLE = Gauge(
    "atoll_implausible_reads",
    "1 while implausibly many reads of this process find wrong objects: path or store is suspected",
    ["location"],
)


class _Window:
    """The latest result for each object of one location, oldest first."""

    def __init__(self) -> None:
        self.results: OrderedDict[str, tuple[float, bool]] = OrderedDict()
        self.wrong = 0
        self.implausible = False

    def add(self, key: str, now: float, *, wrong: bool) -> bool:
        old = self.results.get(key)
        if wrong and old is not None and old[1]:
            return False
        self.forget(key)
        self.results[key] = (now, wrong)
        self.wrong += wrong
        while len(self.results) > _REMEMBERED:
            self.forget(next(iter(self.results)))
        return wrong

    def expire(self, before: float) -> None:
        while self.results:
            key, (added, _) = next(iter(self.results.items()))
            if added >= before:
                return
            self.forget(key)

    def forget(self, key: str) -> None:
        old = self.results.pop(key, None)
        self.wrong -= old is not None and old[1]


class RecentReads:
    """Results of the last hour's reads, by location and object. Thread-safe."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._windows: dict[str, _Window] = {}
        self._lock = threading.Lock()

    def add(self, location: str, key: str, *, wrong: bool) -> bool:
        """Add the result of a read, which replaces an earlier one of the same object.

        Args:
            location: the location.
            key: identifies the object.
            wrong: whether the bytes were wrong.

        Returns:
            True if the object is wrong and was not known to be wrong within the last hour.
        """
        with self._lock:
            window = self._windows.setdefault(location, _Window())
            now = self._monotonic()
            window.expire(now - WINDOW_SECONDS)
            is_new = window.add(key, now, wrong=wrong)
            self._assess(location, window)
            return is_new

    def forget(self, location: str, key: str) -> None:
        """Drop the result of a read."""
        with self._lock:
            if location in self._windows:
                self._windows[location].forget(key)

    def implausible(self, location: str) -> bool:
        """Return whether too many objects of a location are wrong to act on any of them."""
        with self._lock:
            return self._refresh(location)

    def refresh(self) -> None:
        """Drop expired results, which updates the metric of locations without reads."""
        with self._lock:
            for location in self._windows:
                self._refresh(location)

    def _refresh(self, location: str) -> bool:
        window = self._windows.setdefault(location, _Window())
        window.expire(self._monotonic() - WINDOW_SECONDS)
        self._assess(location, window)
        return window.implausible

    @staticmethod
    def _assess(location: str, window: _Window) -> None:
        read, wrong = len(window.results), window.wrong
        implausible = wrong > read * WRONG_SHARE and wrong > WRONG_MAXIMUM
        if window.implausible:
            # Only intact objects end it: without reads there is no evidence for the path.
            implausible = wrong > read * WRONG_SHARE or read == 0
        IMPLAUSIBLE.labels(location).set(implausible)
        if implausible != window.implausible:
            fields = {"location": location, "wrong": wrong, "read": read}
            if implausible:
                log.error(
                    "implausibly many wrong objects, path or store configuration suspected",
                    extra=fields,
                )
            else:
                log.info("reads plausible again", extra=fields)
        window.implausible = implausible
