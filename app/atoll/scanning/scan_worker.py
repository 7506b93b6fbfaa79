"""The worker that scans images while a scanner is available."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from atoll.db.leased_queue import LeaseLost
from atoll.db.queue_runner import QueueRunner
from atoll.db.transient import is_transient
from atoll.periodic import ThreadRegistry
from atoll.scanning.clair.errors import ScannerError
from atoll.scanning.clairs import Clairs
from atoll.scanning.indexer_state import IndexerState
from atoll.scanning.scan import Scan
from atoll.scanning.scan_metrics import SCAN_SECONDS
from atoll.scanning.scans import LEASE_SECONDS, ScanClaim, Scans

log = logging.getLogger(__name__)

# Seconds after which a busy scanner, or one that refused the key, is asked again.
_PAUSE_SECONDS = 5.0


@dataclass(frozen=True)
class _Job:
    claim: ScanClaim
    indexer_state: str


class ScanWorker:
    """Scans due images, several at a time. Images stay as they are while no scanner responds."""

    def __init__(
        self,
        scans: Scans,
        scan: Scan,
        clairs: Clairs,
        state: IndexerState,
        *,
        at_once: int,
        seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make a worker, not started.

        Args:
            scans: The queue.
            scan: Scans a claimed image.
            clairs: The scanners.
            state: The state of their indexer.
            at_once: Images that are scanned at the same time.
            seconds: SECURITY_SCANNER_INDEXING_INTERVAL: the pause after a claim without result.
            monotonic: The clock, in seconds.
        """
        self._scans = scans
        self._scan = scan
        self._clairs = clairs
        self._state = state
        self._monotonic = monotonic
        self._held: dict[UUID, ScanClaim] = {}
        self._lock = threading.Lock()
        self._paused_until = float("-inf")
        self._is_waiting = False
        self._stopped = threading.Event()
        self._runner: QueueRunner[str, _Job] = QueueRunner(
            "security-scans",
            self._claim,
            self._run,
            slots=at_once,
            per_group=1,
            poll_seconds=seconds,
        )

    def start(self, registry: ThreadRegistry) -> None:
        """Start scanning in threads that `registry` watches."""
        self._runner.start(registry)
        registry.repeat("security-scan-leases", LEASE_SECONDS / 3, self._renew)

    def wake(self) -> None:
        """Claim now instead of after the pause: an image may have been pushed."""
        self._runner.wake()

    def stop(self, *, wait: bool = False) -> None:
        """Stop claiming, and give back images in progress.

        Args:
            wait: Wait for images in progress, whose requests may take minutes.
        """
        self._stopped.set()
        self._runner.stop(wait=wait)
        with self._lock:
            held = list(self._held.values())
        if held:
            self._scans.postpone(held)

    def _claim(self, after: str | None, busy: list[str]) -> tuple[str, _Job] | None:
        """Claim an image if a scanner responds; digests take no turns."""
        del after, busy
        if self._stopped.is_set() or self._pause():
            return None
        try:
            state = self._state.current()
        except ScannerError as error:
            self._wait(error)
            return None
        self._resume()
        for claim in self._scans.claim(1, state):
            with self._lock:
                self._held[claim.lease_token] = claim
            return str(claim.digest), _Job(claim, state)
        return None

    def _run(self, job: _Job) -> None:
        claim = job.claim
        try:
            with SCAN_SECONDS.time():
                self._scan.run(claim, job.indexer_state)
        except LeaseLost:
            log.warning("lease lost", extra={"digest": str(claim.digest)})
        except ScannerError as error:
            self._wait(error)
        finally:
            with self._lock:
                self._held.pop(claim.lease_token, None)

    def _pause(self) -> bool:
        """Return whether no scanner is asked now, and claim again when one may be."""
        left = max(self._clairs.seconds(), self._paused_until - self._monotonic())
        if left > 0:
            self._runner.wake_after(left)
        return left > 0

    def _wait(self, error: ScannerError) -> None:
        """Pause after an error that is not about an image."""
        self._paused_until = self._monotonic() + _PAUSE_SECONDS
        self._runner.wake_after(_PAUSE_SECONDS)
        if not self._is_waiting:
            self._is_waiting = True
            log.warning("waiting for scanner", extra={"reason": error.reason, "cause": str(error)})

    def _resume(self) -> None:
        if self._is_waiting:
            self._is_waiting = False
            log.info("scans resumed")

    def _renew(self) -> None:
        """Extend the leases of images in progress."""
        with self._lock:
            held = list(self._held.values())
        if not held:
            return
        try:
            kept = self._scans.renew(held)
        except Exception as error:
            # The next turn may succeed; the lease lasts for several turns.
            fields = {"leases": len(held), "cause": str(error)}
            log.warning("leases not extended", extra=fields, exc_info=not is_transient(error))
            return
        for claim in held:
            if claim.lease_token not in kept:
                log.warning("lease lost", extra={"digest": str(claim.digest)})
