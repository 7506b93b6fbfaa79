"""The workers of a mirror process, and what they share."""

from __future__ import annotations

import logging
import threading
from functools import partial

from atoll.db.notifications import listen_until
from atoll.db.pool import Database, DatabaseUnavailable
from atoll.db.wake_ups import MIRROR_CHANNEL
from atoll.mirroring.organizations.discovery_worker import DiscoveryWorker
from atoll.mirroring.runs.worker import MirrorWorker
from atoll.periodic import ThreadRegistry
from atoll.upstream.shared_budget import SharedBudgets
from atoll.upstream.upstreams import Upstreams

log = logging.getLogger(__name__)

# Seconds after which the connection for notifications is checked, or replaced.
_LISTENER_SECONDS = 5.0


class MirrorWorkers:
    """The workers of a process, and their connections to upstreams.

    Attributes:
        worker: The worker that runs mirrors.
        discovery: The worker that discovers repositories; None without FEATURE_ORG_MIRROR.
        budgets: The shares of this process in the requests of all sites.
    """

    def __init__(
        self,
        worker: MirrorWorker,
        discovery: DiscoveryWorker | None,
        *,
        database: Database,
        upstreams: Upstreams,
        budgets: SharedBudgets,
        registry: ThreadRegistry,
        disabled_by: str | None,
    ) -> None:
        """Make the workers of a process, not started.

        Args:
            worker: The worker that runs mirrors.
            discovery: The worker that discovers repositories, if there can be any.
            database: Where new work is announced.
            upstreams: The clients for upstreams.
            budgets: The shares of this process in the requests of all sites.
            registry: Watches the threads.
            disabled_by: The key of the bundle that forbids all changes; None if there is none.
        """
        self.worker = worker
        self.discovery = discovery
        self._database = database
        self._upstreams = upstreams
        self.budgets = budgets
        self._registry = registry
        self._disabled_by = disabled_by
        self._stopped = threading.Event()
        self._started = False

    def start(self) -> None:
        """Start the workers, unless the bundle forbids all changes."""
        if self._disabled_by is not None:
            log.warning("mirroring is disabled", extra={"key": self._disabled_by})
            return
        listen = partial(self.budgets.listen, self._stopped, self._registry.beat)
        self._registry.start("upstream-budgets", listen)
        self._registry.start("mirror-listener", self._listen)
        self.worker.start()
        if self.discovery is not None:
            self.discovery.start()
        self._started = True

    def _listen(self) -> None:
        listen_until(
            self._stopped,
            self._database,
            MIRROR_CHANNEL,
            _LISTENER_SECONDS,
            heard=self._heard,
            beat=self._registry.beat,
        )

    def _heard(self, reported: frozenset[str] | None) -> None:
        self.worker.wake(reported)
        if self.discovery is not None:
            self.discovery.wake(reported)

    def stop(self) -> None:
        """Give back leases and shares."""
        if not self._started:
            return
        if self.discovery is not None:
            self.discovery.stop()
        self.worker.stop()
        self._stopped.set()
        self._upstreams.close()
        try:
            self.budgets.give_back()
        except DatabaseUnavailable as error:
            log.warning("shares of upstreams not returned", extra={"cause": str(error)})
