"""The worker that discovers the repositories of mirrored organizations, beside those of all sites.

A thread extends the leases of the discoveries in progress. One that lost its lease ends before its
next page.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from uuid import UUID

from prometheus_client import Counter, Histogram

from atoll.db.leased_queue import LeaseLost
from atoll.db.queue_runner import QueueRunner
from atoll.errors import AtollError
from atoll.mirroring.organizations.discoveries import LEASE_SECONDS, Discoveries, DiscoveryClaim
from atoll.mirroring.organizations.discovery import (
    Connect,
    check_refusals,
    discover,
    outcome_of,
)
from atoll.mirroring.organizations.organization_settings import DiscoverySettings
from atoll.mirroring.organizations.reconciliation import Reconciled, Reconciliation
from atoll.mirroring.problems import problem_text
from atoll.periodic import PeriodicThread, ServiceUnavailable, ThreadRegistry
from atoll.upstream.errors import Paused, UpstreamTimedOut

log = logging.getLogger(__name__)

# Discoveries of one process at once.
_DISCOVERIES_AT_ONCE = 2
# Leases are extended three times before they expire.
_EXTENSIONS = 3
# Seconds between claims if no notification reports a discovery, and the payload of one that does.
_POLL_SECONDS, _DISCOVER = 30.0, "discover"

DISCOVERIES = Counter(
    "quay_org_mirror_discovery",
    "Discoveries of repositories that this process ended",
    ["status"],
)
DURATION = Histogram(
    "quay_org_mirror_discovery_duration_seconds",
    "Time of this process for discoveries of repositories",
    buckets=(0.1, 0.5, 1, 5, 15, 60, 300, 1800),
)
CREATED = Counter(
    "quay_org_mirror_repos_created", "Repositories that this process created for mirrors"
)


class _Stopping(AtollError):
    """The worker stops; the discovery is given back."""


class _InProgress:
    """A discovery in progress, which `stop` ends before its next page."""

    def __init__(self, claim: DiscoveryClaim, seconds: float) -> None:
        self.claim = claim
        self._deadline = time.monotonic() + seconds
        self._seconds = seconds
        self._error: Exception | None = None

    def stop(self, error: Exception) -> None:
        self._error = error

    def proceed(self) -> None:
        """Raise the error that the discovery ends with, if it is to end."""
        if self._error is not None:
            raise self._error
        if time.monotonic() > self._deadline:
            raise UpstreamTimedOut(f"the list takes longer than {self._seconds:.0f} s")


class DiscoveryWorker:
    """Discovers repositories of all mirrored organizations."""

    def __init__(
        self,
        discoveries: Discoveries,
        reconciliation: Reconciliation,
        settings: Callable[[DiscoveryClaim], DiscoverySettings],
        *,
        connect: Connect,
        registry: ThreadRegistry,
        seconds: float,
        poll_seconds: float = _POLL_SECONDS,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        """Make a worker.

        Args:
            discoveries: The discoveries of all mirrors.
            reconciliation: Applies their results.
            settings: Returns the settings of a discovery; raises SecretUnreadable and
                UpstreamError.
            connect: Returns the reader of an upstream.
            registry: Watches the threads.
            seconds: The maximum duration of a discovery.
            poll_seconds: The pause between claims if no notification reports a discovery.
            lease_seconds: How long leases last.
        """
        self._discoveries, self._reconciliation = discoveries, reconciliation
        self._settings, self._connect = settings, connect
        self._registry = registry
        self._seconds = seconds
        self._extend_seconds = lease_seconds / _EXTENSIONS
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._work: dict[UUID, _InProgress] = {}
        self._extending: PeriodicThread | None = None
        self._runner: QueueRunner[int, DiscoveryClaim] = QueueRunner(
            "mirror-discovery",
            discoveries.claim,
            self._discover,
            slots=_DISCOVERIES_AT_ONCE,
            per_group=1,
            poll_seconds=poll_seconds,
        )

    def start(self) -> None:
        """Start all threads."""
        self._extending = self._registry.repeat(
            "discovery-leases", self._extend_seconds, self.extend
        )
        self._runner.start(self._registry)

    def wake(self, reported: frozenset[str] | None) -> None:
        """Claim discoveries that notifications report; None if some may have been missed."""
        if reported is None or _DISCOVER in reported:
            self._runner.wake()

    def stop(self) -> None:
        """Stop claiming, and give back the discoveries in progress."""
        self._stopping.set()
        with self._lock:
            works = list(self._work.values())
        for work in works:
            work.stop(_Stopping())
        self._runner.stop()
        if self._extending is not None:
            self._extending.stop()
            self._extending.join()

    def extend(self) -> None:
        """Extend leases, and stop discoveries that lost theirs."""
        with self._lock:
            works = list(self._work.values())
        if not works:
            return
        held = self._discoveries.extend([work.claim for work in works])
        for work in works:
            if work.claim.lease_token not in held:
                work.stop(_lost(work.claim))

    def _discover(self, claim: DiscoveryClaim) -> None:
        work = _InProgress(claim, self._seconds)
        with self._lock:
            self._work[claim.lease_token] = work
            if self._stopping.is_set():
                work.stop(_Stopping())
        try:
            with DURATION.time():
                self._run(claim, work)
        finally:
            with self._lock:
                del self._work[claim.lease_token]

    def _run(self, claim: DiscoveryClaim, work: _InProgress) -> None:
        fields = {"organization": claim.mirror.organization}
        try:
            result = self._reconciled(claim, work)
        except _Stopping:
            self._discoveries.give_back([claim])
        except LeaseLost:
            log.warning("lease lost", extra=fields)
        except Paused as error:
            log.warning("upstream paused", extra={**fields, "seconds": error.seconds})
            self._discoveries.postpone(claim, error.seconds, problem_text(error.code))
            self._runner.wake_after(error.seconds)
        except ServiceUnavailable:
            raise
        except Exception as error:
            self._fail(claim, error)
        else:
            DISCOVERIES.labels("success").inc()
            CREATED.inc(len(result.created))
            log.info("repositories discovered", extra={**fields, "result": result.message})

    def _reconciled(self, claim: DiscoveryClaim, work: _InProgress) -> Reconciled:
        """List the repositories of the upstream and apply the list.

        Raises:
            AuthFailed: The credentials were refused too often to be sent again.
            UpstreamEmpty: The list is empty, which must not end all mirrors.
            UpstreamError: The list could not be read.
            LeaseLost: Another process has the discovery, or it was cancelled.
        """
        check_refusals(claim.mirror)
        found = discover(
            self._settings(claim),
            self._connect,
            partial(self._reconciliation.known, claim.id),
            work.proceed,
        )
        work.proceed()
        return self._reconciliation.apply(claim, found.selected, found.listed)

    def _fail(self, claim: DiscoveryClaim, error: Exception) -> None:
        outcome = outcome_of(error)
        DISCOVERIES.labels("failure").inc()
        log.warning(
            "repositories not discovered",
            extra={"organization": claim.mirror.organization, "cause": str(error)},
            exc_info=outcome.reason == "unknown_error",
        )
        if not self._discoveries.fail(claim, outcome):
            log.warning("lease lost", extra={"organization": claim.mirror.organization})


def _lost(claim: DiscoveryClaim) -> LeaseLost:
    return LeaseLost(f"the lease of the discovery of '{claim.mirror.organization}'")
