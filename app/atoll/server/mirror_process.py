"""The process of a mirror worker."""

from __future__ import annotations

import gc
import logging
import signal
import socket
import subprocess
import threading
from dataclasses import dataclass
from functools import partial

from atoll import logs
from atoll.auth.robot_rule import RobotRule
from atoll.config import Bundle
from atoll.db.pool import DatabaseUnavailable
from atoll.mirroring.copying.presence import Presence
from atoll.mirroring.copying.tag_switch import TagSwitch
from atoll.mirroring.metrics import export_mirrors
from atoll.mirroring.organizations.discoveries import Discoveries
from atoll.mirroring.organizations.discovery_worker import DiscoveryWorker
from atoll.mirroring.organizations.reconciliation import Reconciliation
from atoll.mirroring.runs.planner import Planner
from atoll.mirroring.runs.runs import Runs
from atoll.mirroring.runs.tasks import Tasks
from atoll.mirroring.runs.worker import MirrorWorker
from atoll.server.background_server import OPERATIONS_THREADS, serve_in_background
from atoll.server.bundle import load_bundle, require_mirroring, write_ca_bundle
from atoll.server.container import wire_services
from atoll.server.heartbeat import HeartbeatThread
from atoll.server.maintenance import INTERVAL_SECONDS
from atoll.server.paths import HEALTH_URL_FILE, number, prepare_runtime_directory
from atoll.server.reload import Reloads, replace_process
from atoll.server.supervisor import ATOLL
from atoll.services import Services
from atoll.storage.states import refresh_in_background
from atoll.upstream.shared_budget import SharedBudgets
from atoll.upstream.upstreams import Upstreams
from atoll.web.app import create_operations_app
from atoll.web.health import WorkerHealth

log = logging.getLogger(__name__)

# The port for health and metrics. ATOLL_OPERATIONS_PORT overrides it where containers share the
# host's network.
_OPERATIONS_PORT = 9091
# Tags that are copied at the same time.
_COPIES_AT_ONCE, _COPIES_MAXIMUM = 4, 16
# Connections of the threads that do not plan a run or copy a tag. Copies of blobs share them, and
# need one for moments.
_CONNECTIONS = 16


def mirror(*, migrate: bool) -> int:
    """Run the mirror worker until SIGTERM, and return the exit code.

    Args:
        migrate: whether to migrate the database first.
    """
    logs.set_up()
    # Before any work starts that a signal could interrupt.
    stop = threading.Event()
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, lambda *_signal: stop.set())
    runtime = prepare_runtime_directory()
    reloads = Reloads(runtime)
    reloads.listen()
    reloads.begin()
    bundle = _read_bundle()
    if migrate and (status := subprocess.call([*ATOLL, "migrate"])):  # noqa: S603 - our own command
        return status
    copies = number("ATOLL_MIRROR_COPIES", _COPIES_AT_ONCE, _COPIES_MAXIMUM)
    services = wire_services(bundle, connections=_CONNECTIONS + copies + len(bundle.stores))
    services.require_sessions()
    services.locations.start_probing(services.thread_registry)
    services.doubt_sharing.start(services.thread_registry)
    refresh_in_background(services.locations.states, services.database, services.thread_registry)
    services.health_probe.start(services.thread_registry)
    services.thread_registry.repeat(
        "mirror-metrics", INTERVAL_SECONDS, lambda: export_mirrors(services.database)
    )
    gc.collect()
    gc.freeze()
    mirroring = wire_mirroring(services, copies=copies)
    mirroring.start()
    heartbeat = HeartbeatThread(services, "mirror")
    heartbeat.start()
    port = number("ATOLL_OPERATIONS_PORT", _OPERATIONS_PORT, 65535)
    health = WorkerHealth(
        services.health_probe, lambda: True, services.thread_registry, "mirroring"
    )
    operations = create_operations_app(health)
    serve_in_background("operations", operations, threads=OPERATIONS_THREADS, listen=f"*:{port}")
    (runtime / HEALTH_URL_FILE).write_text(f"http://127.0.0.1:{port}/health/instance")
    reloads.succeeded()
    reload = reloads.wait(stop, _read_bundle)
    mirroring.stop()
    heartbeat.stop()
    if reload:
        replace_process([*ATOLL, "repomirror-nomigrate"], unless=stop)
    return 0


@dataclass
class Mirroring:
    """The mirror worker of a process, and the connections to upstreams.

    Attributes:
        services: the services of the process.
        worker: the worker.
        discovery: the worker that discovers repositories; None without FEATURE_ORG_MIRROR.
        upstreams: the clients for upstreams.
        budgets: the shares of this process in the requests of all sites.
    """

    services: Services
    worker: MirrorWorker
    discovery: DiscoveryWorker | None
    upstreams: Upstreams
    budgets: SharedBudgets

    def __post_init__(self) -> None:
        self._stopped = threading.Event()
        self._started = False

    def start(self) -> None:
        """Start the worker, unless the bundle forbids all changes."""
        registry = self.services.thread_registry
        bundle = self.services.bundle
        if bundle.read_only or bundle.disable_pushes:
            key = "REGISTRY_STATE" if bundle.read_only else "DISABLE_PUSHES"
            log.warning("mirroring is disabled", extra={"key": key})
            return
        listen = partial(self.budgets.listen, self._stopped, registry.beat)
        registry.start("upstream-budgets", listen)
        self.worker.start()
        if self.discovery is not None:
            self.discovery.start()
        self._started = True

    def stop(self) -> None:
        """Give back leases and shares."""
        if not self._started:
            return
        if self.discovery is not None:
            self.discovery.stop()
        self.worker.stop()
        self._stopped.set()
        self.upstreams.close()
        try:
            self.budgets.give_back()
        except DatabaseUnavailable as error:
            log.warning("shares of upstreams not returned", extra={"cause": str(error)})


def wire_mirroring(
    services: Services,
    *,
    copies: int,
    upstreams: Upstreams | None = None,
    watch_seconds: float | None = None,
) -> Mirroring:
    """Return the mirror worker of a process, not started.

    Args:
        services: the services of the process.
        copies: the number of tags that are copied at once.
        upstreams: replaces the clients for upstreams.
        watch_seconds: replaces the pause between checks of the work in progress.
    """
    bundle = services.bundle
    budgets = services.upstream_budgets
    clients = upstreams or Upstreams.from_bundle(bundle, services.ca_bundle, budgets.budget)
    switch = TagSwitch(services.database)
    runs = Runs(
        services.database,
        services.cipher,
        switch,
        site=bundle.preference[0],
        instance=socket.gethostname(),
        rollback=bundle.repo_mirror_rollback,
    )
    worker = MirrorWorker(
        runs,
        Tasks(services.database, switch),
        Planner(Presence(services.database), RobotRule.from_bundle(bundle)),
        services.image_copier,
        connect=clients.client,
        registry=services.thread_registry,
        copies=copies,
        **({} if watch_seconds is None else {"watch_seconds": watch_seconds}),
    )
    discovery = _wire_discovery(services, clients) if bundle.feature_org_mirror else None
    return Mirroring(services, worker, discovery, clients, budgets)


def _wire_discovery(services: Services, upstreams: Upstreams) -> DiscoveryWorker:
    organizations = services.organization_mirrors
    return DiscoveryWorker(
        Discoveries(services.database),
        Reconciliation(services.database, services.cipher),
        lambda claim: organizations.settings(claim.mirror),
        connect=upstreams.documents,
        registry=services.thread_registry,
        seconds=services.bundle.org_mirror_max_discovery_duration,
    )


def _read_bundle() -> Bundle:
    """Return the bundle, and write its CA certificates.

    Raises:
        UserError: the bundle is invalid, or mirroring is not enabled.
    """
    bundle = load_bundle()
    require_mirroring(bundle)
    write_ca_bundle()
    return bundle
