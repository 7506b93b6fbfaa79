"""Claim tasks of one location in a walk through the queue, so that no task is examined twice.

A claim resumes at the position of the last one. Its cost therefore depends neither on the number of
finished tasks that an old snapshot keeps in the index nor on the number of tasks whose sources are
unavailable. Tasks that become claimable behind the position (an expired lease, a transaction that
committed late, a new copy) are found by sweeps from the start, whose share of the time is limited.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from prometheus_client import Gauge

from atoll.placement.tasks import END, START, ClaimResult, Positions, Section, Task, Tasks

# Tasks that one statement examines: as many as it may claim, and more while none has a source.
_WINDOW_MINIMUM, _WINDOW_GROWTH, _WINDOW_MAXIMUM = 16, 8, 4096
# A task is due from the start of its transaction. Tasks committed up to this much later are found
# without a sweep; it exceeds the time limit of a request's statements.
_OVERLAP = timedelta(seconds=6)
# The pause after a statement of a sweep, as a multiple of its duration.
_SWEEP_PAUSE = 20

WAITING = Gauge(
    "atoll_replication_blobs_without_source",
    "Pending copies to this worker's location whose sources are all unavailable",
    ["location", "queue"],
)


@dataclass
class _Cursor:
    """A walk through the queue: its position, and the number of tasks that were not claimed."""

    after: Positions
    window: int = _WINDOW_MINIMUM
    skipped: int = 0

    def advance(self, claimed: ClaimResult) -> None:
        self.after = claimed.after
        self.skipped += claimed.examined - len(claimed.tasks)
        if claimed.tasks or claimed.ended:
            self.window = _WINDOW_MINIMUM
        else:
            self.window = min(self.window * _WINDOW_GROWTH, _WINDOW_MAXIMUM)


class Claims:
    """Claims tasks of large or of small blobs. Not thread-safe.

    Args:
        tasks: the queue.
        large: whether to claim tasks of large or of small blobs.
        sweep_seconds: the least time between two sweeps.
        monotonic: a clock in seconds.
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
        """Claim tasks with one statement, or two if a sweep is due.

        Args:
            limit: the most tasks to claim.
            sources: the locations that can be read now.
            held: ids of tasks in progress in this process.
        """
        if not self._sources.issuperset(sources):
            # Skipped tasks may have a source now.
            self._restart()
        self._sources = frozenset(sources)
        self._behind = False
        if not sources:
            return []
        found = self._continue_sweep(limit, held) if self._monotonic() >= self._next_sweep else []
        if len(found) < limit:
            left = limit - len(found)
            claimed = self._step(self._cursor, END, left, held)
            self._behind = not claimed.ended and len(claimed.tasks) < left
            if claimed.ended:
                self._cursor.after = _not_after(self._cursor.after, claimed)
            found += claimed.tasks
        return found

    def pause(self, seconds: float) -> float:
        """Return the seconds to wait before the next claim, at most `seconds`."""
        if self._behind:
            return 0
        if self._sweep is None:
            return seconds
        return max(0.0, min(seconds, self._next_sweep - self._monotonic()))

    def _restart(self) -> None:
        """Restart the cursor."""
        self._cursor = _Cursor(START)
        self._sweep: _Cursor | None = None
        self._next_sweep = self._monotonic() + self._sweep_seconds

    def _continue_sweep(self, limit: int, held: Sequence[int]) -> list[Task]:
        """Continue the sweep up to the position of the cursor."""
        if self._sweep is None:
            self._sweep = _Cursor(START)
        started = self._monotonic()
        claimed = self._step(self._sweep, self._cursor.after, limit, held)
        now = self._monotonic()
        pause = _SWEEP_PAUSE * (now - started)
        if claimed.ended:
            queue = "large" if self._large else "small"
            WAITING.labels(self._tasks.location, queue).set(self._sweep.skipped)
            self._sweep = None
            pause = max(pause, self._sweep_seconds)
        self._next_sweep = now if claimed.tasks and not claimed.ended else now + pause
        return claimed.tasks

    def _step(
        self, cursor: _Cursor, until: Positions, limit: int, held: Sequence[int]
    ) -> ClaimResult:
        claimed = self._tasks.claim_within(
            Section(cursor.after, until),
            large=self._large,
            limit=limit,
            window=max(cursor.window, limit),
            held=held,
            sources=sorted(self._sources),
        )
        cursor.advance(claimed)
        return claimed


def _not_after(positions: Positions, claimed: ClaimResult) -> Positions:
    """Return positions that precede tasks whose transactions may still commit."""
    latest = claimed.now - _OVERLAP
    return {
        urgent: (latest, 0) if not isinstance(at, str) and at > latest else (at, task_id)
        for urgent, (at, task_id) in positions.items()
    }
