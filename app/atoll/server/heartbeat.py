"""Record heartbeats of this instance in the database."""

from __future__ import annotations

import logging
import os
import time
from datetime import datetime
from typing import Any
from uuid import UUID

from prometheus_client import Gauge

from atoll.cluster.instances import HEARTBEAT_INTERVAL, Heartbeat
from atoll.db.pool import DatabaseUnavailable
from atoll.periodic import PeriodicThread
from atoll.services import Services

# The identifier that the processes of one registry share.
INSTANCE_VARIABLE = "ATOLL_INSTANCE"
# A changed state of a store is recorded after this time, for pages that operators watch.
_POLL_SECONDS = 0.25
# Longer than the time-outs of the database for all its hosts.
_SILENCE_SECONDS = 300.0

log = logging.getLogger(__name__)

CERTIFICATE_END = Gauge(
    "atoll_certificate_expiry_timestamp_seconds",
    "When the certificate that this instance serves TLS with expires, in seconds since 1970",
    # A labelled metric without samples is not exported: instances without TLS have no certificate.
    ["role"],
    multiprocess_mode="mostrecent",
)


class HeartbeatThread:
    """Records a heartbeat each half minute, and whenever the state of a store changes."""

    def __init__(
        self, services: Services, role: str, *, certificate_expires_at: datetime | None = None
    ) -> None:
        shared = os.environ.get(INSTANCE_VARIABLE)
        self._heartbeat = Heartbeat(
            services.database,
            services.bundle,
            role,
            services.locations.health,
            UUID(shared) if shared else None,
            certificate_expires_at=certificate_expires_at,
        )
        if certificate_expires_at is not None:
            CERTIFICATE_END.labels(role).set(certificate_expires_at.timestamp())
        self._registry = services.thread_registry
        self._thread: PeriodicThread | None = None
        # What was recorded last, and when the next heartbeat is due if nothing changes.
        self._recorded: object = None
        self._due = 0.0

    def start(self) -> None:
        """Record heartbeats in the background."""
        self._thread = self._registry.repeat(
            "heartbeat", _POLL_SECONDS, self._record_if_due, silence_seconds=_SILENCE_SECONDS
        )

    def stop(self) -> None:
        """Withdraw the instance; if the database is unavailable, it is reported as missing."""
        if self._thread is not None:
            self._thread.stop()
            self._thread.join()
        try:
            self._heartbeat.withdraw()
        except DatabaseUnavailable as error:
            log.warning("instance not withdrawn", extra={"cause": str(error)})

    def _record_if_due(self) -> None:
        seen = {name: _states(one) for name, one in self._heartbeat.stores().items()}
        if seen != self._recorded or time.monotonic() >= self._due:
            # Before the attempt, so that a failed heartbeat is not repeated each second.
            self._recorded, self._due = seen, time.monotonic() + HEARTBEAT_INTERVAL
            self._heartbeat.record()


def _states(store: dict[str, Any]) -> dict[str, Any]:
    """Return what is recorded at once if it changes; a new latency waits for the next heartbeat."""
    return {name: value for name, value in store.items() if name != "latency_seconds"}
