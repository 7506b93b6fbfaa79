"""The background work of security scanning, of each instance that runs the maintenance."""

from __future__ import annotations

import logging
import threading
import time
from functools import partial

from atoll.db.notifications import listen_until
from atoll.db.wake_ups import SCAN_CHANNEL
from atoll.scanning.backfill import ScanBackfill
from atoll.scanning.received_notifications import ReceivedNotifications
from atoll.scanning.removals import Removals
from atoll.scanning.report_cleanup import ReportCleanup
from atoll.scanning.scan_metrics import export_scans
from atoll.scanning.scan_worker import ScanWorker
from atoll.scanning.scanning import Scanning
from atoll.server.paths import number
from atoll.services import Services

log = logging.getLogger(__name__)

_SCANS_AT_ONCE, _SCANS_MAXIMUM = 4, 32
_INTERVAL_SECONDS = 30
_PRUNE_SECONDS = 3600
_NOTIFICATION_SECONDS = 5
# Seconds after which the connection for notifications is checked, or replaced.
_LISTENER_SECONDS = 5.0
# How much longer the backfill rests after a range than the range took. It still requests scans much
# faster than they run.
_REST_OF_BACKFILL = 50


class ScanningThreads:
    """The threads of security scanning in a process."""

    def __init__(self, services: Services, scanning: Scanning) -> None:
        """Make the threads, not started.

        Args:
            services: The services of the process.
            scanning: The scanners and the queue.
        """
        self._services = services
        self._scanning = scanning
        self._stopped = threading.Event()
        self._backfill = ScanBackfill(services.database)
        self._is_backfill_begun = False
        self._notices = services.vulnerability_notices
        self._worker: ScanWorker = scanning.worker(
            at_once=number("ATOLL_SCANS_AT_ONCE", _SCANS_AT_ONCE, _SCANS_MAXIMUM),
            reported=self._notices.reported,
        )

    def start(self) -> None:
        """Start the threads, unless the registry is read-only."""
        services, scanning = self._services, self._scanning
        if services.bundle.read_only:
            return
        registry, database = services.thread_registry, services.database
        self._worker.start(registry)
        registry.start("security-scan-listener", self._listen)
        registry.repeat("security-scan-backfill", _INTERVAL_SECONDS, self._request_missing)
        cleanup = ReportCleanup(
            Removals(database),
            scanning.clairs,
            enabled=services.bundle.security_scanner_v4_manifest_cleanup,
        )
        registry.repeat("security-report-cleanup", _INTERVAL_SECONDS, cleanup.step)
        registry.repeat("security-reports", _PRUNE_SECONDS, scanning.stored.prune)
        received = ReceivedNotifications(database)
        registry.repeat("security-notifications", _NOTIFICATION_SECONDS, self._notices.step)
        registry.repeat("security-notification-cleanup", _PRUNE_SECONDS, received.prune)
        export = partial(export_scans, scanning.scans)
        registry.repeat("security-scan-metrics", _INTERVAL_SECONDS, export)

    def stop(self) -> None:
        """Stop claiming images, and give back those in progress."""
        self._stopped.set()
        self._worker.stop()

    def _request_missing(self) -> bool:
        """Request scans of a range of existing images, and return whether there may be more.

        It rests between ranges in proportion to their duration.

        A process without the feature, of an earlier version or with another bundle, may have pushed
        images since the last backfill, so each process begins one.
        """
        if not self._is_backfill_begun:
            self._backfill.restart()
            self._is_backfill_begun = True
        began = time.monotonic()
        complete = self._backfill.step().complete
        if not complete:
            # The database serves pulls and pushes meanwhile.
            self._stopped.wait((time.monotonic() - began) * _REST_OF_BACKFILL)
        return not complete

    def _listen(self) -> None:
        listen_until(
            self._stopped,
            self._services.database,
            SCAN_CHANNEL,
            _LISTENER_SECONDS,
            heard=lambda _payloads: self._worker.wake(),
            beat=self._services.thread_registry.beat,
        )


def scanning_threads(services: Services) -> ScanningThreads | None:
    """Return the threads of security scanning; None without FEATURE_SECURITY_SCANNER."""
    return ScanningThreads(services, services.scanning) if services.scanning else None
