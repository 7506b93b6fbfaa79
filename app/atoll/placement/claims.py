"""Walk through the task queue of one location, so that no claim meets the same tasks twice.

A claim resumes where the last one ended. It therefore costs the same however many finished tasks an
old snapshot keeps in the index, and however many tasks wait for a source that is unavailable. Tasks
that become claimable behind that position (an expired lease, a transaction that committed late, a
new copy somewhere) are found by a sweep from the start, whose share of the time is limited.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from prometheus_client import Gauge

from atoll.placement.tasks import END, START, Claimed, Positions, Section, Task, Tasks

# Tasks that one statement looks at: as many as it may claim, and more while none has a source.
_WINDOW_MINIMUM, _WINDOW_GROWTH, _WINDOW_MAXIMUM = 16, 8, 4096
# A task is due from the start of its transaction: one that committed so much later is still found
# at once. Longer than a request's statements may take.
_OVERLAP = timedelta(seconds=6)
# The pause after a statement of a sweep, as a multiple of its duration.
_SWEEP_PAUSE = 20

WAITING = Gauge(
    "atoll_replication_blobs_without_source",
    "Pending copies to this worker's location whose sources are all unavailable",
    ["location", "lane"],
)


@dataclass
class _Walk:
    """A walk through the queue that has come to AFTER, past so many tasks that were SKIPPED."""

    after: Positions
    window: int = _WINDOW_MINIMUM
    skipped: int = 0

    def move(self, claimed: Claimed) -> None:
        self.after = claimed.after
        self.skipped += claimed.examined - len(claimed.tasks)
        if claimed.tasks or claimed.ended:
            self.window = _WINDOW_MINIMUM
        else:
            self.window = min(self.window * _WINDOW_GROWTH, _WINDOW_MAXIMUM)


class Claims:
    """Claims tasks of LARGE or of small blobs; for one thread.

    SWEEP_SECONDS is the least time between two sweeps.
    """

    def __init__(
        self,
        tasks: Tasks,
        *,
        large: bool,
        sweep_seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tasks = tasks
        self._large = large
        self._sweep_seconds = sweep_seconds
        self._monotonic = monotonic
        self._sources: frozenset[str] = frozenset()
        self._behind = False
        self._restart()

    def claim(self, limit: int, sources: Sequence[str], held: Sequence[int]) -> list[Task]:
        """Claim up to LIMIT tasks, in one statement, or two where a sweep is due.

        Args:
            limit: how many tasks to claim at most.
            sources: the locations that can be read now.
            held: ids of tasks that this process works on.
        """
        if not self._sources.issuperset(sources):
            # What waited for a source may have one now.
            self._restart()
        self._sources = frozenset(sources)
        self._behind = False
        if not sources:
            return []
        found = self._sweep_on(limit, held) if self._monotonic() >= self._next_sweep else []
        if len(found) < limit:
            left = limit - len(found)
            claimed = self._step(self._walk, END, left, held)
            self._behind = not claimed.ended and len(claimed.tasks) < left
            if claimed.ended:
                self._walk.after = _not_after(self._walk.after, claimed)
            found += claimed.tasks
        return found

    def pause(self, seconds: float) -> float:
        """Return for how long to wait before the next claim, at most SECONDS."""
        if self._behind:
            return 0
        if self._sweep is None:
            return seconds
        return max(0.0, min(seconds, self._next_sweep - self._monotonic()))

    def _restart(self) -> None:
        """Look through the queue from its start."""
        self._walk = _Walk(START)
        self._sweep: _Walk | None = None
        self._next_sweep = self._monotonic() + self._sweep_seconds

    def _sweep_on(self, limit: int, held: Sequence[int]) -> list[Task]:
        """Look at more tasks behind the walk's position."""
        if self._sweep is None:
            self._sweep = _Walk(START)
        began = self._monotonic()
        claimed = self._step(self._sweep, self._walk.after, limit, held)
        now = self._monotonic()
        pause = _SWEEP_PAUSE * (now - began)
        if claimed.ended:
            lane = "large" if self._large else "small"
            WAITING.labels(self._tasks.location, lane).set(self._sweep.skipped)
            self._sweep = None
            pause = max(pause, self._sweep_seconds)
        self._next_sweep = now if claimed.tasks and not claimed.ended else now + pause
        return claimed.tasks

    def _step(self, walk: _Walk, until: Positions, limit: int, held: Sequence[int]) -> Claimed:
        claimed = self._tasks.claim_within(
            Section(walk.after, until),
            large=self._large,
            limit=limit,
            window=max(walk.window, limit),
            held=held,
            sources=sorted(self._sources),
        )
        walk.move(claimed)
        return claimed


def _not_after(positions: Positions, claimed: Claimed) -> Positions:
    """Return POSITIONS, moved back to where tasks may still be committed."""
    latest = claimed.now - _OVERLAP
    return {
        urgent: (latest, 0) if not isinstance(at, str) and at > latest else (at, task_id)
        for urgent, (at, task_id) in positions.items()
    }
