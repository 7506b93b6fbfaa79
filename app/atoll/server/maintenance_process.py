"""The maintenance process of a site without replication.

With replication, the replication worker does the same.
"""

from __future__ import annotations

from atoll.config import Bundle
from atoll.server.container import wire_services
from atoll.server.maintenance import start_maintenance
from atoll.server.scanning import scanning_threads
from atoll.server.stop_signal import StopSignal
from atoll.storage.states import refresh_in_background

_CONNECTIONS = 6


def run_maintenance(bundle: Bundle) -> int:
    """Run the maintenance in the background until SIGTERM, and return the exit code."""
    services = wire_services(bundle, connections=_CONNECTIONS + len(bundle.stores))
    services.locations.start_probing(services.thread_registry)
    refresh_in_background(services.locations.states, services.database, services.thread_registry)
    # Before any work starts that a signal could interrupt.
    stop = StopSignal()
    stop.listen()
    services.deliverer.start(services.thread_registry)
    services.log_exporter.start(services.thread_registry)
    scanning = scanning_threads(services)
    if scanning is not None:
        scanning.start()
    start_maintenance(services)
    stop.wait()
    if scanning is not None:
        scanning.stop()
    services.deliverer.stop()
    services.log_exporter.stop()
    return 0
