"""The process of a mirror worker."""

from __future__ import annotations

import gc
import logging
import subprocess

from atoll import logs
from atoll.config import Bundle
from atoll.mirroring.metrics import export_mirrors
from atoll.server.background_server import OPERATIONS_THREADS, serve_in_background
from atoll.server.bundle import load_bundle, require_mirroring, write_ca_bundle
from atoll.server.container import wire_services
from atoll.server.heartbeat import HeartbeatThread
from atoll.server.maintenance import INTERVAL_SECONDS
from atoll.server.paths import HEALTH_URL_FILE, number, prepare_runtime_directory
from atoll.server.reload import Reloads, replace_process
from atoll.server.stop_signal import StopSignal
from atoll.server.supervisor import ATOLL
from atoll.storage.states import refresh_in_background
from atoll.web.health import WorkerHealth
from atoll.web.operations_app import create_operations_app

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
    stop = StopSignal()
    stop.listen()
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
    workers = services.mirror_workers(copies=copies)
    workers.start()
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
    workers.stop()
    heartbeat.stop()
    if reload:
        replace_process([*ATOLL, "repomirror-nomigrate"], unless=stop)
    return 0


def _read_bundle() -> Bundle:
    """Return the bundle, and write its CA certificates.

    Raises:
        UserError: the bundle is invalid, or mirroring is not enabled.
    """
    bundle = load_bundle()
    require_mirroring(bundle)
    write_ca_bundle()
    return bundle
