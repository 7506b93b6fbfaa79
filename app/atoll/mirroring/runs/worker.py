"""The mirror worker: plans runs, copies tags and ends runs, beside the workers of all sites.

Claims are made when a notification reports work, and at intervals. A thread watches the leases of
the work in progress: it extends them, and stops copies that lost theirs, that were cancelled, or
that make no progress.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID

from atoll.db.leased_queue import LeaseLost
from atoll.db.queue_runner import QueueRunner
from atoll.errors import AtollError
from atoll.mirroring.copying.copy_control import CopyControl
from atoll.mirroring.copying.copy_errors import CopyError, CopyInterrupted
from atoll.mirroring.copying.image_copier import CopyOptions, ImageCopier
from atoll.mirroring.outcome import AUTH_FAILED, LOST_COPIES_MAXIMUM
from atoll.mirroring.problems import problem_text
from atoll.mirroring.rules.settings import MirrorSettings
from atoll.mirroring.runs.claims import RunClaim
from atoll.mirroring.runs.cosign_tags import CosignTags
from atoll.mirroring.runs.endings import FinishedRun
from atoll.mirroring.runs.failures import outcome_of, reason_of
from atoll.mirroring.runs.planner import Planner
from atoll.mirroring.runs.run_metrics import BYTES, WORKERS_ACTIVE, count_failure, count_run
from atoll.mirroring.runs.runs import Runs
from atoll.mirroring.runs.tasks import LEASE_SECONDS, Task, Tasks
from atoll.names import Digest
from atoll.periodic import PeriodicThread, ServiceUnavailable, ThreadRegistry
from atoll.upstream.access import Access
from atoll.upstream.client import UpstreamClient
from atoll.upstream.errors import Paused
from atoll.upstream.reference import UpstreamReference

log = logging.getLogger(__name__)

# Runs that one process plans at once.
_PLANS_AT_ONCE = 2
# Seconds between checks of leases, cancellations and time-outs, and between checks for runs that
# are to end.
_WATCH_SECONDS = 2.0
# Leases are extended three times before they expire.
_EXTENSIONS = 3
# Seconds between claims if no notification reports work.
_POLL_SECONDS = 30.0
# The payloads of notifications: a run is due, or a tag is to be copied.
_PLAN, _COPY = "plan", "copy"

Connect = Callable[[UpstreamReference, Access], UpstreamClient]


class TagTimedOut(CopyError):
    """A tag made no progress within its time-out."""

    code = "tag_timeout"
    reason = "network_timeout"
    is_temporary = True


class _Stopping(AtollError):
    """The worker stops; the work is given back."""


@dataclass(eq=False)
class _Work:
    """Work in progress.

    Attributes:
        control: Stops it.
        claim: The run that is being planned.
        task: The tag that is being copied.
        timeout: The seconds without progress after which a copy fails.
        received: The bytes that were received.
    """

    control: CopyControl
    claim: RunClaim | None = None
    task: Task | None = None
    timeout: float | None = None
    received: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, size: int) -> None:
        """Count received bytes."""
        with self.lock:
            self.received += size


class MirrorWorker:
    """Works on the runs of all mirrors."""

    def __init__(
        self,
        runs: Runs,
        tasks: Tasks,
        planner: Planner,
        copier: ImageCopier,
        *,
        connect: Connect,
        registry: ThreadRegistry,
        copies: int,
        poll_seconds: float = _POLL_SECONDS,
        watch_seconds: float = _WATCH_SECONDS,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        """Make a worker.

        Args:
            runs: The runs of all mirrors.
            tasks: Their tasks.
            planner: Plans runs.
            copier: Copies images.
            connect: Returns the client of an upstream.
            registry: Watches the threads.
            copies: The number of tags that are copied at once.
            poll_seconds: The pause between claims if no notification reports work.
            watch_seconds: The pause between checks of the work in progress.
            lease_seconds: How long leases last.
        """
        self._runs, self._tasks = runs, tasks
        self._planner, self._copier, self._connect = planner, copier, connect
        self._registry = registry
        self._watch_seconds = watch_seconds
        self._extend_after = max(1, int(lease_seconds / _EXTENSIONS / watch_seconds))
        self._checks = 0
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._work: dict[UUID, _Work] = {}
        self._cosign_tags = CosignTags()
        self._threads: list[PeriodicThread] = []
        # One slot is left for other mirrors, so that a slow upstream does not delay them.
        self._planning: QueueRunner[int, RunClaim] = QueueRunner(
            "mirror-plan",
            runs.claims.claim,
            self._plan,
            slots=_PLANS_AT_ONCE,
            per_group=1,
            poll_seconds=poll_seconds,
        )
        self._copying: QueueRunner[int, Task] = QueueRunner(
            "mirror-copy",
            tasks.claim,
            self._copy,
            slots=copies,
            per_group=max(1, copies - 1),
            poll_seconds=poll_seconds,
        )

    def start(self) -> None:
        """Start all threads."""
        for name, work in (("mirror-leases", self.watch), ("mirror-finish", self.finish_runs)):
            self._threads.append(self._registry.repeat(name, self._watch_seconds, work))
        self._planning.start(self._registry)
        self._copying.start(self._registry)
        WORKERS_ACTIVE.set(1)

    def stop(self) -> None:
        """Stop claiming, and give back the work in progress."""
        WORKERS_ACTIVE.set(0)
        self._stopping.set()
        with self._lock:
            works = list(self._work.values())
        for work in works:
            work.control.stop(_Stopping())
        for runner in (self._planning, self._copying):
            runner.stop()
        for thread in self._threads:
            thread.stop()
            thread.join()

    def wake(self, reported: frozenset[str] | None) -> None:
        """Claim work that notifications report.

        Args:
            reported: The payloads; None if some may have been missed.
        """
        if reported is None or _PLAN in reported:
            self._planning.wake()
        if reported is None or _COPY in reported:
            self._copying.wake()

    @property
    def busy(self) -> bool:
        """Whether runs are planned or tags are copied at this moment."""
        with self._lock:
            return bool(self._work)

    def plan_next(self) -> bool:
        """Plan a run that is due, in this thread, and return whether there was one."""
        if (claimed := self._runs.claims.claim(None, [])) is None:
            return False
        self._plan(claimed[1])
        return True

    def copy_next(self) -> bool:
        """Copy a tag that is due, in this thread, and return whether there was one."""
        if (claimed := self._tasks.claim(None, [])) is None:
            return False
        self._copy(claimed[1])
        return True

    # Planning ---------------------------------------------------------------------------------

    def _plan(self, claim: RunClaim) -> None:
        work = _Work(CopyControl(), claim=claim)
        self._run(claim.lease_token, work, partial(self._plan_run, claim, work))

    def _plan_run(self, claim: RunClaim, work: _Work) -> None:
        fields = {"repository": str(claim.repository), "run": claim.run_id}
        try:
            settings = self._runs.settings.of(claim.row)
            source = self._connect(settings.reference, settings.access)
            planned = self._planner.plan(claim, settings, source, work.control.check)
            self._cosign_tags.keep(claim.run_id, planned.listed)
            _report(self._runs.plans.record(claim, planned.plan))
            self._copying.wake()
        except _Stopping:
            self._runs.claims.give_back([claim])
        except LeaseLost:
            log.warning("plan discarded", extra=fields)
            # If the settings changed, the lease is held, and the run is planned again at once.
            self._runs.claims.give_back([claim])
        except Paused as error:
            log.warning("upstream paused", extra={**fields, "seconds": error.seconds})
            self._runs.claims.postpone(claim, error.seconds, problem_text(error.code))
            self._planning.wake_after(error.seconds)
        except ServiceUnavailable:
            # The lease expires, and the next claim plans again.
            raise
        except Exception as error:
            outcome = outcome_of(error)
            _count_failure(claim, error)
            log.warning(
                "run not planned",
                extra={**fields, "cause": str(error)},
                exc_info=outcome.reason == "unknown_error",
            )
            _report(self._runs.endings.fail(claim, outcome))

    # Copying ----------------------------------------------------------------------------------

    def _copy(self, task: Task) -> None:
        work = _Work(CopyControl(), task=task)
        work.control = CopyControl(work.add)
        self._run(task.lease_token, work, partial(self._copy_tag, task, work))

    def _copy_tag(self, task: Task, work: _Work) -> None:
        fields = {"repository": str(task.repository), "tag": task.tag, "digest": task.digest}
        try:
            self._copy_image(task, work)
        except _Stopping:
            self._tasks.give_back([task])
            return
        except LeaseLost:
            log.warning("lease lost", extra=fields)
            return
        except Paused as error:
            log.warning("upstream paused", extra={**fields, "seconds": error.seconds})
            self._tasks.postpone(task, error.seconds, problem_text(error.code))
            self._copying.wake_after(error.seconds)
            return
        except ServiceUnavailable:
            raise
        except Exception as error:
            self._fail_tag(task, error, fields)
        else:
            log.info("tag copied", extra=fields)
        if self._runs.endings.is_done(task.run_id):
            _report(self._runs.endings.finish(task.run_id))

    def _copy_image(self, task: Task, work: _Work) -> None:
        if task.lost_claims >= LOST_COPIES_MAXIMUM:
            raise CopyInterrupted(f"the copy was interrupted {task.lost_claims} times")
        settings = self._runs.settings.of(task.row)
        work.timeout = settings.tag_timeout.total_seconds()
        source = self._connect(settings.reference, settings.access)
        options = CopyOptions(
            settings.architectures, settings.referrers, self._listing(task, settings, source, work)
        )
        result = self._copier.copy(
            source,
            task.repository,
            Digest.parse(task.digest),
            options,
            robot=task.robot,
            control=work.control,
        )
        BYTES.labels(settings.reference.host).inc(result.bytes_copied)
        self._tasks.complete(
            task,
            result.attached,
            together=self._runs.settings.changes_together(settings),
            bytes_copied=result.bytes_copied,
            bytes_present=result.bytes_present,
        )

    def _fail_tag(self, task: Task, error: Exception, fields: dict[str, str]) -> None:
        outcome = outcome_of(error)
        code = outcome.reason or "unknown_error"
        _count_failure(task, error)
        log.warning(
            "tag not copied",
            extra={**fields, "cause": str(error)},
            exc_info=code == "unknown_error",
        )
        text = problem_text(code)
        self._tasks.fail(task, code, text, is_temporary=outcome.is_temporary)
        if code == AUTH_FAILED:
            # Credentials that were refused are not sent again for each tag.
            self._tasks.fail_others(task, code, text)

    def _listing(
        self, task: Task, settings: MirrorSettings, source: UpstreamClient, work: _Work
    ) -> frozenset[str]:
        """Return the tags of cosign at the upstream, if they are to be copied."""
        if settings.referrers != "all":
            return frozenset()
        known = self._cosign_tags.find(task.run_id)
        if known is not None:
            return known
        with source.slot(work.control.waiting) as held:
            listed = held.tags(work.control.waiting)
        return self._cosign_tags.keep(task.run_id, listed.names)

    # Work in progress -------------------------------------------------------------------------

    def _run(self, token: UUID, work: _Work, run: Callable[[], None]) -> None:
        with self._lock:
            self._work[token] = work
            if self._stopping.is_set():
                work.control.stop(_Stopping())
        try:
            run()
        finally:
            with self._lock:
                del self._work[token]

    def watch(self) -> None:
        """Extend leases, and stop plans and copies that lost theirs or make no progress."""
        with self._lock:
            copies = [(one.task, one) for one in self._work.values() if one.task is not None]
            plans = [(one.claim, one) for one in self._work.values() if one.claim is not None]
        for _task, work in copies:
            if work.timeout is not None and work.control.idle_seconds > work.timeout:
                work.control.stop(TagTimedOut("the tag made no progress within its time-out"))
        tasks, claims = [task for task, _work in copies], [claim for claim, _work in plans]
        held = set[UUID]()
        if tasks:
            held |= self._tasks.held(tasks)
        if claims:
            held |= self._runs.claims.held(claims)
        leased: list[tuple[Task | RunClaim, _Work]] = [*copies, *plans]
        for one, work in leased:
            if one.lease_token not in held:
                work.control.stop(LeaseLost(f"the lease of work for '{one.repository}'"))
        self._checks += 1
        if self._checks % self._extend_after == 0:
            if claims:
                self._runs.claims.extend(claims)
            if tasks:
                self._tasks.extend(tasks)
                self._tasks.progress({task: work.received for task, work in copies})

    def finish_runs(self) -> None:
        """End runs that were cancelled, and those whose last worker died."""
        for run_id in self._runs.endings.to_finish():
            try:
                _report(self._runs.endings.finish(run_id))
            except ServiceUnavailable:
                raise
            except Exception:
                log.exception("run not ended", extra={"run": run_id})
            # Images whose manifests are missing are copied again.
            self._copying.wake()


def _count_failure(work: RunClaim | Task, error: Exception) -> None:
    of_organization = work.row["org_mirror_id"] is not None
    count_failure(work.repository.namespace, reason_of(error), of_organization=of_organization)


def _report(finished: FinishedRun | None) -> None:
    if finished is not None:
        count_run(finished)
        log.info(
            "run finished",
            extra={
                "repository": str(finished.repository),
                "run": finished.run_id,
                "outcome": finished.outcome.status,
                "reason": finished.outcome.reason,
            },
        )
