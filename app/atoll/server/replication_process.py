"""The process of a site's replication worker, which also runs the maintenance."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator

from atoll import logs
from atoll.config import Bundle
from atoll.mirroring.metrics import export_mirrors
from atoll.placement.checks.doubt_review import REVIEW_RATE, REVIEW_SECONDS, DoubtReview
from atoll.placement.checks.doubts import export_doubts
from atoll.placement.checks.plausibility import RecentReads
from atoll.placement.checks.scrub import Scrubber
from atoll.placement.checks.verify import Verifier
from atoll.placement.policies import PolicyWatch
from atoll.placement.upkeep.backfill import Reconciler
from atoll.placement.upkeep.lag import export_lag
from atoll.placement.upkeep.lag_samples import LagSamples
from atoll.rate_limit import RateLimiter
from atoll.replication.worker import Worker
from atoll.server.background_server import OPERATIONS_THREADS, serve_in_background
from atoll.server.bundle import load_bundle, require_replication, write_ca_bundle
from atoll.server.container import wire_services
from atoll.server.heartbeat import HeartbeatThread
from atoll.server.maintenance import INTERVAL_SECONDS, Activity, start_maintenance
from atoll.server.paths import HEALTH_URL_FILE, number, prepare_runtime_directory
from atoll.server.reload import Reloads, replace_process
from atoll.server.scanning import scanning_threads
from atoll.server.stop_signal import StopSignal
from atoll.server.supervisor import ATOLL
from atoll.services import Services
from atoll.storage.states import refresh_in_background
from atoll.web.health import WorkerHealth
from atoll.web.operations_app import create_operations_app

log = logging.getLogger(__name__)

# The port for health and metrics. ATOLL_OPERATIONS_PORT overrides it where containers share the
# host's network.
_OPERATIONS_PORT = 9091
# Large blobs that are copied at the same time; four times as many small ones are.
_COPIES_AT_ONCE, _COPIES_MAXIMUM = 4, 16
# Threads need a connection for moments only, and none while they wait for a store. Each location
# has a delete queue whose thread adds one.
_CONNECTIONS = 15
# Seconds between two checks for a changed policy.
_POLICY_SECONDS = 2


def replicate() -> int:
    """Run the replication worker and the maintenance until SIGTERM, and return the exit code."""
    logs.set_up()
    # Before any work starts that a signal could interrupt.
    stop = StopSignal()
    stop.listen()
    runtime = prepare_runtime_directory()
    reloads = Reloads(runtime)
    reloads.listen()
    reloads.begin()
    bundle = _read_bundle()
    services = wire_services(bundle, connections=_CONNECTIONS + len(bundle.stores))
    services.require_sessions()
    services.locations.start_probing(services.thread_registry)
    services.doubt_sharing.start(services.thread_registry)
    refresh_in_background(services.locations.states, services.database, services.thread_registry)
    services.health_probe.start(services.thread_registry)
    recent = RecentReads()
    worker = Worker(
        services.database,
        services.locations,
        limit=bundle.replication_limits.get(bundle.preference[0]),
        recent=recent,
        copies=number("ATOLL_REPLICATION_COPIES", _COPIES_AT_ONCE, _COPIES_MAXIMUM),
        cache=services.placement_cache,
    )
    start_maintenance(services)
    for activity in worker_activities(services, recent):
        services.thread_registry.repeat(activity.name, activity.seconds, activity.work)
    # Objects that exist now are permanent; scanning them in each collection costs 10 % of the time.
    gc.collect()
    gc.freeze()
    worker.start()
    services.deliverer.start(services.thread_registry)
    services.log_exporter.start(services.thread_registry)
    scanning = scanning_threads(services)
    if scanning is not None:
        scanning.start()
    heartbeat = HeartbeatThread(services, "replication")
    heartbeat.start()
    port = number("ATOLL_OPERATIONS_PORT", _OPERATIONS_PORT, 65535)
    health = WorkerHealth(services.health_probe, lambda: worker.alive, services.thread_registry)
    operations = create_operations_app(health)
    serve_in_background("operations", operations, threads=OPERATIONS_THREADS, listen=f"*:{port}")
    (runtime / HEALTH_URL_FILE).write_text(f"http://127.0.0.1:{port}/health/instance")
    reloads.succeeded()
    reload = reloads.wait(stop, _read_bundle)
    if scanning is not None:
        scanning.stop()
    services.deliverer.stop()
    services.log_exporter.stop()
    worker.stop()
    heartbeat.stop()
    if reload:
        # The new process starts as any worker does, in the same container.
        replace_process([*ATOLL, "replication"], unless=stop)
    return 0


def _read_bundle() -> Bundle:
    """Return the bundle, and write its CA certificates.

    Raises:
        UserError: the bundle is invalid, or replication is not enabled.
    """
    bundle = load_bundle()
    require_replication(bundle)
    write_ca_bundle()
    return bundle


def _reconcile_step(services: Services) -> Callable[[], None]:
    """Return work that adds missing tasks for some blobs, and exports the doubts as a metric."""
    reconciler = Reconciler(services.database, services.bundle.required_locations)

    def work() -> None:
        if made := reconciler.step():
            log.warning("missing tasks added", extra={"tasks": made})
        export_doubts(services.database)

    return work


def _lag_step(services: Services) -> Callable[[], None]:
    """Return work that exports the lag as metrics, and writes a sample of it if one is due."""
    samples = LagSamples(services.database)

    def work() -> None:
        samples.record(export_lag(services.database))

    return work


def _policy_step(services: Services) -> Callable[[], None]:
    """Return work that adds all missing tasks, at first and after each change of a policy."""
    reconciler = Reconciler(services.database, services.bundle.required_locations)
    watch = PolicyWatch(services.database, reconciler)

    def work() -> None:
        if made := watch.apply_changes():
            log.info("policies changed, tasks added", extra={"tasks": made})

    return work


def worker_activities(services: Services, recent: RecentReads) -> Iterator[Activity]:
    """Yield the activities that only a replication worker runs.

    Args:
        services: the services of the process.
        recent: the worker's reads, which show whether the share of damaged copies is plausible.
    """
    yield Activity("reconciling", INTERVAL_SECONDS, _reconcile_step(services))
    yield Activity("lag", INTERVAL_SECONDS, _lag_step(services))
    yield Activity("policies", _POLICY_SECONDS, _policy_step(services))
    yield Activity("mirror-metrics", INTERVAL_SECONDS, lambda: export_mirrors(services.database))
    # Also if the scrub is disabled.
    yield Activity("doubts", REVIEW_SECONDS, _doubt_review_step(services, recent))
    if rate := services.bundle.background_verification_rate:
        yield Activity("scrub", INTERVAL_SECONDS, _scrub_step(services, recent, rate))


def _doubt_review_step(services: Services, recent: RecentReads) -> Callable[[], bool]:
    """Return a step of the review of doubted copies."""
    locations = services.locations
    limit = RateLimiter(max(REVIEW_RATE, services.bundle.background_verification_rate))
    return DoubtReview(
        services.database,
        Verifier(services.database, locations.stores, locations.health, limit),
        locations.preference[0],
        reachable=locations.stores,
        recent=recent,
        cache=services.placement_cache,
    ).step


def _scrub_step(services: Services, recent: RecentReads, rate: int) -> Callable[[], bool]:
    """Return a step of the scrub of this site's location, at RATE bytes per second."""
    verifier = Verifier(
        services.database, services.locations.stores, services.locations.health, RateLimiter(rate)
    )
    scrubber = Scrubber(
        services.database,
        verifier,
        services.locations.preference[0],
        age=services.bundle.background_verification_interval,
        recent=recent,
        cache=services.placement_cache,
    )
    return scrubber.step
