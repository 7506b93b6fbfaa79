"""Attempt the jobs of a queue a limited number of times, and record each outcome.

Delivery of notifications and export of the log are such workers. A job that fails is released with
a back-off, one that fails too often is abandoned, and a bug counts as a failed attempt.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from typing import ClassVar, Generic, Protocol, TypeVar

from atoll.db.leased_queue import Leased, LeaseLost
from atoll.db.pool import DatabaseUnavailable
from atoll.db.queue_runner import POLL_SECONDS, Group, QueueRunner
from atoll.periodic import ThreadRegistry


class Attempted(Leased, Protocol):
    """A claimed row that log records describe."""

    @property
    def log_fields(self) -> dict[str, object]:
        """The fields of log records about this job."""


Job = TypeVar("Job", bound=Attempted)


class QueueWorker(ABC, Generic[Group, Job]):
    """Attempts jobs in background threads; groups take turns (`QueueRunner`).

    A subclass defines how a job is claimed and attempted, and records its outcome.

    Attributes:
        job_name: what a job is called in log messages.
        expected: errors that are failures of an attempt, not bugs.
        attempts_maximum: attempts after which a job is abandoned.
    """

    job_name: ClassVar[str]
    expected: ClassVar[tuple[type[Exception], ...]]
    attempts_maximum: ClassVar[int]

    def __init__(
        self, name: str, *, slots: int, per_group: int, poll_seconds: float = POLL_SECONDS
    ) -> None:
        """Make a worker.

        Args:
            name: the name of the threads, and of the activity in the log.
            slots: number of concurrent jobs.
            per_group: number of concurrent jobs of one group.
            poll_seconds: pause after a claim without result.
        """
        # Records carry the logger of the subclass.
        self._log = logging.getLogger(type(self).__module__)
        self._runner = QueueRunner(
            name,
            self._claim,
            self._run,
            slots=slots,
            per_group=per_group,
            poll_seconds=poll_seconds,
        )

    def start(self, registry: ThreadRegistry) -> None:
        """Start claiming jobs in a thread that `registry` watches."""
        self._runner.start(registry)

    def stop(self) -> None:
        """Stop claiming, and wait for jobs in progress."""
        self._runner.stop()

    def run_once(self) -> bool:
        """Attempt one job and return whether one was due."""
        claimed = self._claim(None, [])
        if claimed is not None:
            self._run(claimed[1])
        return claimed is not None

    def _run(self, job: Job) -> None:
        """Attempt a job and record the outcome.

        Raises:
            DatabaseUnavailable: nothing can be recorded. The job is claimed again after its lease.
        """
        if job.attempts > self.attempts_maximum:
            # Earlier attempts recorded no outcome, for example because the process died.
            self._abandon(job, None)
            return
        try:
            self._attempt(job)
        except LeaseLost:
            self._log.warning("lease lost", extra=job.log_fields)
        except DatabaseUnavailable:
            raise
        except self.expected as error:
            fields = {**job.log_fields, "cause": str(error)}
            self._log.warning("%s failed", self.job_name, extra=fields)
            self._failed(job, str(error))
        except Exception as error:
            # A bug must not cause endless retries of the job.
            self._log.exception("unhandled exception in a %s", self.job_name, extra=job.log_fields)
            self._failed(job, f"{type(error).__name__}: {error}")
        else:
            self._succeeded(job)

    def _failed(self, job: Job, error: str) -> None:
        if job.attempts < self.attempts_maximum:
            self._release(job, error)
        else:
            self._abandon(job, error)

    @abstractmethod
    def _claim(self, after: Group | None, busy: list[Group]) -> tuple[Group, Job] | None:
        """Claim a job of the first group after `after` that has one and is not in `busy`."""

    @abstractmethod
    def _attempt(self, job: Job) -> None:
        """Do the work."""

    @abstractmethod
    def _succeeded(self, job: Job) -> None:
        """Record a success."""

    @abstractmethod
    def _release(self, job: Job, error: str) -> None:
        """Record a failure after which the job is retried."""

    @abstractmethod
    def _abandon(self, job: Job, error: str | None) -> None:
        """Record that the job is not retried.

        Args:
            job: the job.
            error: the failure of the last attempt, None if none was made now.
        """
