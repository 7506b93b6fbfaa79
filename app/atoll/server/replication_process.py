"""`atoll replication`: this site's replication worker, with its housekeeping."""

from __future__ import annotations

import gc
import logging
import signal
import threading
from collections.abc import Callable, Iterator

from atoll import logs
from atoll.config import Bundle
from atoll.errors import UserError
from atoll.placement.checks.doubt_review import REVIEW_RATE, REVIEW_SECONDS, DoubtReview
from atoll.placement.checks.doubts import export_doubts
from atoll.placement.checks.plausibility import RecentReads
from atoll.placement.checks.scrub import Scrubber
from atoll.placement.checks.verify import Verifier
from atoll.placement.policies import PolicyWatch
from atoll.placement.upkeep.backfill import Reconciler
from atoll.placement.upkeep.lag import export_lag
from atoll.rate_limit import RateLimiter
from atoll.registry.blobs import cache_key
from atoll.replication.worker import Worker
from atoll.server.background_server import OPERATIONS_THREADS, serve_beside
from atoll.server.bundle import load_bundle, require_replication, write_ca_bundle
from atoll.server.container import wire_services
from atoll.server.heartbeat import Announcer
from atoll.server.maintenance import HOUSEKEEPING, Activity, keep_house
from atoll.server.paths import HEALTH_URL_FILE, number, prepare_runtime_directory
from atoll.server.reload import Reloads, replace_process
from atoll.server.supervisor import ATOLL
from atoll.services import Services
from atoll.storage.states import refresh_in_background
from atoll.web.app import create_operations_app
from atoll.web.health import WorkerHealth

log = logging.getLogger(__name__)

# The port for health and metrics in the container; ATOLL_OPERATIONS_PORT names another one where
# containers share the host's network.
_OPERATIONS_PORT = 9091
# Large blobs at once; of small ones four times as many.
_COPIES_AT_ONCE, _COPIES_MAXIMUM = 4, 16
# What claims, copies, finishes, keeps leases and house asks the database for moments only; who
# deletes at a location keeps a connection for as long as its store takes.
_CONNECTIONS = 15
# Seconds between two looks at whether somebody asks for another reading of the bundle.
_RELOADS = 0.2
# Seconds between two looks at whether a policy changed.
_POLICIES = 2


def replicate() -> int:
    """Run the replication worker and the maintenance until SIGTERM, and return the exit code."""
    logs.set_up()
    # Before anything is in hand that a signal could cut off.
    stop = threading.Event()
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, lambda *_signal: stop.set())
    runtime = prepare_runtime_directory()
    reloads = Reloads(runtime)
    reloads.listen()
    reloads.begin()
    bundle = _read_bundle()
    graph = wire_services(bundle, connections=_CONNECTIONS + len(bundle.stores))
    graph.require_sessions()
    graph.locations.start_probing(graph.thread_registry)
    graph.doubt_sharing.start(graph.thread_registry)
    refresh_in_background(graph.locations.states, graph.database, graph.thread_registry)
    graph.vitals.start(graph.thread_registry)
    recent = RecentReads()
    worker = Worker(
        graph.database,
        graph.locations,
        limit=bundle.replication_limits.get(bundle.preference[0]),
        recent=recent,
        copies=number("ATOLL_REPLICATION_COPIES", _COPIES_AT_ONCE, _COPIES_MAXIMUM),
        forget_cached=lambda tasks: graph.redis.delete(*(cache_key(task.digest) for task in tasks)),
    )
    keep_house(graph)
    for activity in periodic(graph, recent):
        graph.thread_registry.repeat(activity.name, activity.seconds, activity.work)
    # What is there now stays: to look through it for garbage again and again costs a tenth.
    gc.collect()
    gc.freeze()
    worker.start()
    graph.deliverer.start(graph.thread_registry)
    graph.log_exporter.start(graph.thread_registry)
    announcer = Announcer(graph, "replication")
    announcer.start()
    port = number("ATOLL_OPERATIONS_PORT", _OPERATIONS_PORT, 65535)
    health = WorkerHealth(graph.vitals, lambda: worker.alive, graph.thread_registry)
    operations = create_operations_app(health)
    serve_beside("operations", operations, threads=OPERATIONS_THREADS, listen=f"*:{port}")
    (runtime / HEALTH_URL_FILE).write_text(f"http://127.0.0.1:{port}/health/instance")
    reloads.taken_over()
    reload = _wait(stop, reloads)
    graph.deliverer.stop()
    graph.log_exporter.stop()
    worker.stop()
    announcer.stop()
    if reload:
        # A new start is how a worker begins anyway; and the container stays the same.
        replace_process([*ATOLL, "replication"], unless=stop)
    return 0


def _read_bundle() -> Bundle:
    """Return the bundle, and write the authorities in it. Raises ConfigError, UserError."""
    bundle = load_bundle()
    require_replication(bundle)
    write_ca_bundle()
    return bundle


def _wait(stop: threading.Event, reloads: Reloads) -> bool:
    """Wait until this process is to stop; tell whether it is to begin again with a good bundle."""
    while not stop.wait(_RELOADS):
        if not reloads.pending:
            continue
        reloads.begin()
        try:
            _read_bundle()
        except UserError as error:
            reloads.refused(str(error))
        else:
            return True
    return False


def _reconciling(graph: Services) -> Callable[[], None]:
    """Return what finds work that no task stands for, a part at a time, and measures the lag."""
    reconciler = Reconciler(graph.database, graph.bundle.required_locations)

    def work() -> None:
        if made := reconciler.step():
            log.warning("tasks were missing; made now", extra={"tasks": made})
        export_lag(graph.database)
        export_doubts(graph.database)

    return work


def _following_policies(graph: Services) -> Callable[[], None]:
    """Return what makes every missing task, at first and whenever a policy changed."""
    reconciler = Reconciler(graph.database, graph.bundle.required_locations)
    watch = PolicyWatch(graph.database, reconciler)

    def work() -> None:
        if made := watch.look():
            log.info("tasks made for all blobs", extra={"tasks": made})

    return work


def periodic(graph: Services, recent: RecentReads) -> Iterator[Activity]:
    """Yield what a worker repeats beside its copies and the maintenance of every instance.

    RECENT are the worker's own reads, by which damage is judged plausible or not.
    """
    yield Activity("reconciling", HOUSEKEEPING, _reconciling(graph))
    yield Activity("policies", _POLICIES, _following_policies(graph))
    # Even where the scrub is switched off.
    yield Activity("doubts", REVIEW_SECONDS, _reviewing(graph, recent))
    if rate := graph.bundle.background_verification_rate:
        yield Activity("scrub", HOUSEKEEPING, _scrubbing(graph, recent, rate))


def _reviewing(graph: Services, recent: RecentReads) -> Callable[[], bool]:
    """Return a turn of the review of doubted copies."""
    locations = graph.locations
    limit = RateLimiter(max(REVIEW_RATE, graph.bundle.background_verification_rate))
    return DoubtReview(
        graph.database,
        Verifier(graph.database, locations.stores, locations.health, limit),
        locations.preference[0],
        reachable=locations.stores,
        recent=recent,
        forget_cached=lambda digest: graph.redis.delete(cache_key(digest)),
    ).turn


def _scrubbing(graph: Services, recent: RecentReads, rate: int) -> Callable[[], bool]:
    """Return what verifies this site's own location, at RATE bytes per second."""
    verifier = Verifier(
        graph.database, graph.locations.stores, graph.locations.health, RateLimiter(rate)
    )
    scrubber = Scrubber(
        graph.database,
        verifier,
        graph.locations.preference[0],
        age=graph.bundle.background_verification_interval,
        recent=recent,
        forget_cached=lambda digest: graph.redis.delete(cache_key(digest)),
    )
    return scrubber.turn
