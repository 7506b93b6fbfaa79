"""`atoll housekeeping`: what a site without replication needs done in the background.

With replication its worker does the same beside its copies.
"""

from __future__ import annotations

import argparse
import logging
import signal
import threading

from atoll import logs
from atoll.cli.bundle import load_bundle
from atoll.cli.graph import Graph
from atoll.db.pool import DatabaseUnavailable

log = logging.getLogger(__name__)

_CONNECTIONS = 6
_SECONDS = 30


def housekeeping(options: argparse.Namespace) -> int:
    """Deliver notifications and clear away what uploads left, until SIGTERM."""
    del options
    logs.set_up()
    graph = Graph(load_bundle(), connections=_CONNECTIONS)
    graph.locations.start_probing()
    graph.deliverer.start()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_signal: stop.set())
    while not stop.wait(_SECONDS):
        _clear_away(graph)
    graph.deliverer.stop()
    return 0


def _clear_away(graph: Graph) -> None:
    try:
        if cleared := graph.uploads.clear_away_leftovers():
            log.info("uploads cleared away", extra={"uploads": cleared})
    except DatabaseUnavailable as error:
        log.warning("PostgreSQL is away", extra={"cause": str(error)})
    except Exception:
        # Housekeeping must go on tomorrow whatever happens today.
        log.exception("housekeeping failed for a reason that nobody thought of")
