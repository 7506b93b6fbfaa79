"""The maintenance process of a site without replication.

With replication, the replication worker does the same.
"""

from __future__ import annotations

import signal
import threading

from atoll import logs
from atoll.server.bundle import load_bundle
from atoll.server.container import wire_services
from atoll.server.maintenance import keep_house
from atoll.storage.states import refresh_in_background

_CONNECTIONS = 6


def maintain() -> int:
    """Run the maintenance in the background until SIGTERM, and return the exit code."""
    logs.set_up()
    bundle = load_bundle()
    graph = wire_services(bundle, connections=_CONNECTIONS + len(bundle.stores))
    graph.locations.start_probing(graph.thread_registry)
    refresh_in_background(graph.locations.states, graph.database, graph.thread_registry)
    # Before any work starts that a signal could interrupt.
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_signal: stop.set())
    graph.deliverer.start(graph.thread_registry)
    graph.log_exporter.start(graph.thread_registry)
    keep_house(graph)
    stop.wait()
    graph.deliverer.stop()
    graph.log_exporter.stop()
    return 0
