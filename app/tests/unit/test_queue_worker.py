"""A job is retried after a failure or a bug, abandoned after the last attempt, and never lost."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID, uuid4

import pytest
from atoll.db.leased_queue import LeaseLost
from atoll.db.pool import DatabaseUnavailable
from atoll.db.queue_worker import QueueWorker
from atoll.periodic import ThreadRegistry

from ..integration.services import wait_until

MAXIMUM = 3


class Refused(Exception):
    """An expected failure of an attempt."""


@dataclass(frozen=True)
class Job:
    id: int
    attempts: int = 1
    lease_token: UUID = field(default_factory=uuid4)

    @property
    def log_fields(self) -> dict[str, object]:
        return {"job": self.id}


class Recorder(QueueWorker[str, Job]):
    """A worker of a queue in memory.

    Attributes:
        waiting: the jobs to claim, all of one group.
        error: raised by each attempt.
        attempted: ids of the attempted jobs.
        outcomes: what was recorded, in order.
    """

    job_name = "job of a test"
    expected = (Refused,)
    attempts_maximum = MAXIMUM

    def __init__(self, *waiting: Job, error: Exception | None = None) -> None:
        super().__init__("test", slots=2, per_group=1, poll_seconds=0.01)
        self.waiting = list(waiting)
        self.error = error
        self.attempted: list[int] = []
        self.outcomes: list[tuple[str, int, str | None]] = []

    def _claim(self, after: str | None, busy: list[str]) -> tuple[str, Job] | None:
        if after is not None or busy or not self.waiting:
            return None
        return "group", self.waiting.pop(0)

    def _attempt(self, job: Job) -> None:
        self.attempted.append(job.id)
        if self.error is not None:
            raise self.error

    def _succeeded(self, job: Job) -> None:
        self.outcomes.append(("succeeded", job.id, None))

    def _release(self, job: Job, error: str) -> None:
        self.outcomes.append(("released", job.id, error))

    def _abandon(self, job: Job, error: str | None) -> None:
        self.outcomes.append(("abandoned", job.id, error))


def test_one_job_is_attempted_at_a_time_and_its_success_recorded() -> None:
    worker = Recorder(Job(1), Job(2))
    assert worker.run_once()
    assert worker.outcomes == [("succeeded", 1, None)]
    assert worker.run_once()
    assert not worker.run_once()


def test_a_started_worker_attempts_all_jobs_until_it_is_stopped() -> None:
    registry, worker = ThreadRegistry(), Recorder(*(Job(number) for number in range(10)))
    worker.start(registry)
    wait_until("all jobs succeeded", lambda: len(worker.outcomes) == 10)
    worker.stop()
    assert worker.attempted == list(range(10))
    assert registry.silent() == []


@pytest.mark.parametrize(
    ("error", "recorded", "event"),
    [
        (Refused("no"), "no", "job of a test failed"),
        (KeyError("a bug"), "KeyError: 'a bug'", "unhandled exception in a job of a test"),
    ],
)
@pytest.mark.parametrize(
    ("attempts", "outcome"), [(1, "released"), (MAXIMUM - 1, "released"), (MAXIMUM, "abandoned")]
)
def test_a_failed_job_is_released_until_its_last_attempt(
    error: Exception,
    recorded: str,
    event: str,
    attempts: int,
    outcome: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    worker = Recorder(Job(1, attempts), error=error)
    assert worker.run_once()
    assert worker.outcomes == [(outcome, 1, recorded)]
    (record,) = caplog.records
    assert (record.message, record.name) == (event, __name__)
    assert record.job == 1  # type: ignore[attr-defined]


def test_a_job_whose_attempts_recorded_no_outcome_is_abandoned_without_another() -> None:
    worker = Recorder(Job(1, MAXIMUM + 1))
    assert worker.run_once()
    assert (worker.attempted, worker.outcomes) == ([], [("abandoned", 1, None)])


def test_no_outcome_is_recorded_after_a_lost_lease(caplog: pytest.LogCaptureFixture) -> None:
    worker = Recorder(Job(1, MAXIMUM), error=LeaseLost())
    assert worker.run_once()
    assert worker.outcomes == []
    assert "lease lost" in caplog.text


def test_no_outcome_is_recorded_while_the_database_is_unavailable() -> None:
    worker = Recorder(Job(1, MAXIMUM), error=DatabaseUnavailable("gone"))
    with pytest.raises(DatabaseUnavailable):
        worker.run_once()
    assert worker.outcomes == []
