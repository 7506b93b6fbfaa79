"""Groups of jobs are served in turn, and a group with hanging jobs delays no other."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from atoll.db.pool import DatabaseUnavailable
from atoll.db.queue_runner import QueueRunner
from atoll.periodic import ThreadRegistry

from ..integration.services import SECONDS, wait_until

Job = tuple[str, int]


class Jobs:
    """A queue in memory. Jobs of the groups in `hanging` block until `release` is set.

    Attributes:
        failures: exceptions that the next claims raise.
        begun: the started jobs, in order.
        most: the maximum number of concurrent jobs of each group.
    """

    def __init__(self, **groups: int) -> None:
        self.waiting = {name: list(range(count)) for name, count in groups.items()}
        self.hanging: set[str] = set()
        self.release = threading.Event()
        self.failures: list[Exception] = []
        self.begun: list[Job] = []
        self.most: Counter[str] = Counter()
        self._running: defaultdict[str, int] = defaultdict(int)
        self._lock = threading.Lock()

    def claim(self, after: str | None, busy: list[str]) -> tuple[str, Job] | None:
        if self.failures:
            raise self.failures.pop()
        for name, waiting in sorted(self.waiting.items()):
            if waiting and name > (after or "") and name not in busy:
                return name, (name, waiting.pop(0))
        return None

    def run(self, job: Job) -> None:
        name = job[0]
        with self._lock:
            self.begun.append(job)
            self._running[name] += 1
            self.most[name] = max(self.most[name], self._running[name])
        if name in self.hanging:
            self.release.wait()
        with self._lock:
            self._running[name] -= 1
        if name == "failing":
            raise KeyError("a bug")

    @property
    def done(self) -> bool:
        return not any(self.waiting.values())


@contextmanager
def dispatched(jobs: Jobs, slots: int = 4, per_group: int = 2) -> Iterator[None]:
    runner = QueueRunner(
        "test", jobs.claim, jobs.run, slots=slots, per_group=per_group, poll_seconds=0.01
    )
    runner.start(ThreadRegistry())
    try:
        yield
    finally:
        jobs.release.set()
        runner.stop()


def test_a_group_with_hanging_jobs_delays_no_other() -> None:
    jobs = Jobs(hung=200, other=20)
    jobs.hanging = {"hung"}
    with dispatched(jobs):
        wait_until("all jobs of the other group began", lambda: not jobs.waiting["other"])
        assert len(jobs.waiting["hung"]) == 198
    assert jobs.most["hung"] == 2


def test_groups_are_served_in_turn() -> None:
    jobs = Jobs(a=3, b=3, c=1)
    with dispatched(jobs, slots=1):
        wait_until("all jobs began", lambda: jobs.done)
    assert "".join(name for name, _ in jobs.begun) == "abcabab"


def test_the_number_of_concurrent_jobs_of_a_group_is_limited() -> None:
    jobs = Jobs(only=50)
    with dispatched(jobs, slots=8, per_group=3):
        wait_until("all jobs began", lambda: jobs.done)
    assert jobs.most["only"] <= 3


def test_failed_claims_and_jobs_do_not_stop_the_runner(caplog: pytest.LogCaptureFixture) -> None:
    jobs = Jobs(failing=10, other=10)
    jobs.failures = [DatabaseUnavailable("gone"), KeyError("a bug")]
    with dispatched(jobs):
        wait_until("all jobs began", lambda: jobs.done)
    assert "database unavailable" in caplog.text
    assert "unhandled exception" in caplog.text


def test_stop_waits_for_running_jobs() -> None:
    jobs = Jobs(hung=1)
    jobs.hanging = {"hung"}
    with dispatched(jobs):
        wait_until("the job began", lambda: bool(jobs.begun))
        assert jobs._running["hung"] == 1
    assert jobs._running["hung"] == 0


def test_a_job_that_will_be_due_is_claimed_before_the_pause_ends() -> None:
    claims: list[int] = []
    done = threading.Event()

    def claim(_after: str | None, _busy: list[str]) -> tuple[str, int] | None:
        claims.append(1)
        # Not at the first claim, nor at the one that follows the call.
        return ("group", 1) if len(claims) == 3 else None

    runner = QueueRunner(
        "test", claim, lambda _job: done.set(), slots=1, per_group=1, poll_seconds=3600
    )
    runner.start(ThreadRegistry())
    try:
        wait_until("the first claim was made", lambda: bool(claims))
        runner.wake_after(0.1)
        assert done.wait(SECONDS)
    finally:
        runner.stop()


def test_a_claim_that_finds_a_later_job_is_not_repeated_before_the_job_is_due() -> None:
    seconds = 0.1
    claims: list[float] = []

    def claim(_after: str | None, _busy: list[str]) -> None:
        claims.append(time.monotonic())
        runner.wake_after(seconds)

    runner = QueueRunner("test", claim, lambda _job: None, slots=1, per_group=1, poll_seconds=3600)
    runner.start(ThreadRegistry())
    try:
        wait_until("claims were made", lambda: len(claims) >= 5)
    finally:
        runner.stop()
    assert claims[4] - claims[0] > 3 * seconds
