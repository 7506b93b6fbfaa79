"""`atoll replication`: this site's replication worker, with its housekeeping."""

from __future__ import annotations

import argparse
import logging
import signal
import threading
import time

from atoll import logs
from atoll.cli.bundle import load_bundle, require_replication, write_ca_bundle
from atoll.cli.graph import Graph
from atoll.cli.operations import serve_operations
from atoll.cli.presence import announce
from atoll.cli.runtime import HEALTH_URL_FILE, number, prepare_runtime_directory
from atoll.config import Bundle
from atoll.db.pool import DatabaseUnavailable
from atoll.registry.blobs import cache_key
from atoll.replication.backfill import Reconciler
from atoll.replication.lag import export_lag
from atoll.replication.worker import Worker
from atoll.storage.states import keep_looking
from atoll.web.app import create_operations_app
from atoll.web.health import WorkerHealth

log = logging.getLogger(__name__)

# The port for health and metrics in the container; ATOLL_OPERATIONS_PORT names another one where
# containers share the host's network.
_OPERATIONS_PORT = 9091
# Large blobs at once; of small ones twice as many.
_COPIES_AT_ONCE, _COPIES_MAXIMUM = 4, 16
# What claims, copies, finishes, keeps leases and house asks the database for moments only.
_CONNECTIONS = 12
# Seconds between two rounds of housekeeping.
_HOUSEKEEPING = 30


def replication(options: argparse.Namespace) -> int:
    """Copy what this site lacks, until SIGTERM."""
    del options
    logs.set_up()
    bundle = load_bundle()
    require_replication(bundle)
    runtime = prepare_runtime_directory()
    write_ca_bundle()
    graph = Graph(bundle, connections=_CONNECTIONS)
    graph.locations.start_probing()
    keep_looking(graph.locations.states, graph.database)
    graph.vitals.start()
    worker = Worker(
        graph.database,
        graph.locations,
        limit=bundle.replication_limits.get(bundle.preference[0]),
        copies=number("ATOLL_REPLICATION_COPIES", _COPIES_AT_ONCE, _COPIES_MAXIMUM),
        forget_cached=lambda task: graph.redis.delete(cache_key(task.digest)),
    )
    threading.Thread(
        target=_keep_house, args=(graph, bundle), name="housekeeping", daemon=True
    ).start()
    worker.start()
    graph.deliverer.start()
    announce(graph.database, bundle, "replication")
    port = number("ATOLL_OPERATIONS_PORT", _OPERATIONS_PORT, 65535)
    health = WorkerHealth(graph.vitals, lambda: worker.alive)
    serve_operations(create_operations_app(health), listen=f"*:{port}")
    (runtime / HEALTH_URL_FILE).write_text(f"http://127.0.0.1:{port}/health/instance")
    stop = threading.Event()
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, lambda *_signal: stop.set())
    stop.wait()
    graph.deliverer.stop()
    worker.stop()
    return 0


def _keep_house(graph: Graph, bundle: Bundle) -> None:
    """Find work that no task stands for, measure the lag, clear away what uploads left."""
    reconciler = Reconciler(graph.database, bundle.required_locations)
    look = reconciler.everything
    while True:
        try:
            if made := look():
                log.warning("tasks were missing; made now", extra={"tasks": made})
            look = reconciler.step
            export_lag(graph.database, bundle.required_locations)
            if cleared := graph.uploads.clear_away_leftovers():
                log.info("uploads cleared away", extra={"uploads": cleared})
        except DatabaseUnavailable as error:
            log.warning("PostgreSQL is away", extra={"cause": str(error)})
        except Exception:
            # Housekeeping must go on tomorrow whatever happens today.
            log.exception("housekeeping failed for a reason that nobody thought of")
        time.sleep(_HOUSEKEEPING)
