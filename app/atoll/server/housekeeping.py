"""`atoll housekeeping`: what a site without replication needs done in the background.

With replication its worker does the same beside its copies.
"""

from __future__ import annotations

import argparse
import signal
import threading

from atoll import logs
from atoll.server.bundle import load_bundle
from atoll.server.container import wire_services
from atoll.server.maintenance import keep_house
from atoll.storage.states import refresh_in_background

_CONNECTIONS = 6


def housekeeping(options: argparse.Namespace) -> int:
    """Deliver notifications, keep the log, clear away leftovers, collect garbage; until SIGTERM."""
    del options
    logs.set_up()
    bundle = load_bundle()
    graph = wire_services(bundle, connections=_CONNECTIONS + len(bundle.stores))
    graph.locations.start_probing(graph.thread_registry)
    refresh_in_background(graph.locations.states, graph.database, graph.thread_registry)
    # Before anything is in hand that a signal could cut off.
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_signal: stop.set())
    graph.deliverer.start()
    graph.log_exporter.start()
    keep_house(graph)
    stop.wait()
    graph.deliverer.stop()
    graph.log_exporter.stop()
    return 0
