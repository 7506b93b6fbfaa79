"""A web process of the registry, behind nginx."""

from __future__ import annotations

import gc
import os
import signal
import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path

from atoll.config import Bundle
from atoll.config.stores import LocalSettings
from atoll.registry.body_hashes import BodyHashes
from atoll.server.background_server import OPERATIONS_THREADS, serve_in_background
from atoll.server.container import wire_services
from atoll.server.heartbeat import HeartbeatThread
from atoll.server.paths import (
    bundle_directory,
    downloads_socket,
    operations_socket,
    spool_directory,
)
from atoll.server.tls import certificate_end
from atoll.storage.states import refresh_in_background
from atoll.web.app import create_admission, create_app
from atoll.web.health import EndToEndHealth, InstanceHealth
from atoll.web.operations_app import create_operations_app
from atoll.web.server import create_server

_THREADS = 8
# A download through the registry (FEATURE_PROXY_STORAGE) holds a thread until the client has
# received it, and up to this number of unsent bytes in memory.
_DOWNLOADS = 32
_DOWNLOAD_BYTES = 2**20
# The number of an nginx worker, so that nginx limits connections: it knows the clients.
_CONNECTIONS = 4096
# With the default of waitress, 8 KiB, Python is the bottleneck of a push.
_RECEIVE_BYTES = 256 * 1024
# Seconds to wait for the first health probes before this process serves.
_FIRST_PROBES = 10.0


def serve(address: str, bundle: Bundle) -> int:
    """Serve the registry's application on the unix socket ADDRESS, until SIGTERM."""
    # What is created from here on stays, so there is no garbage.
    gc.disable()
    _disable_preemption()
    # waitress spools bodies to unnamed temporary files, so a crash leaves none behind.
    tempfile.tempdir = str(spool_directory())
    services = wire_services(bundle, connections=_THREADS + 2)
    services.require_sessions()
    dependencies = services.dependencies()
    app = create_app(dependencies)
    admit = create_admission(dependencies)
    prober = services.locations.start_probing(services.thread_registry)
    services.doubt_sharing.start(services.thread_registry)
    refresh_in_background(services.locations.states, services.database, services.thread_registry)
    services.health_probe.start(services.thread_registry)
    services.reads.start(services.thread_registry)
    services.pulls.start(services.thread_registry)
    services.access_log.start(services.thread_registry)
    if services.tag_listener is not None:
        services.tag_listener.start(services.thread_registry)
    heartbeat = HeartbeatThread(
        services, "registry", certificate_expires_at=certificate_end(bundle_directory())
    )
    heartbeat.start()
    socket = Path(address)
    serve_in_background(
        "operations",
        create_operations_app(
            InstanceHealth(services.health_probe, services.thread_registry),
            EndToEndHealth(services.health_probe, services.locations),
        ),
        threads=OPERATIONS_THREADS,
        unix_socket=str(operations_socket(socket)),
        unix_socket_perms="600",
    )
    serve_in_background(
        "downloads",
        app,
        threads=_DOWNLOADS,
        admit=admit,
        unix_socket=str(downloads_socket(socket)),
        unix_socket_perms="600",
        outbuf_overflow=2 * _DOWNLOAD_BYTES,
        outbuf_high_watermark=_DOWNLOAD_BYTES,
        connection_limit=_CONNECTIONS,
        clear_untrusted_proxy_headers=False,
        asyncore_use_poll=True,
    )
    signal.signal(signal.SIGTERM, _end)
    # nginx starts once all sockets exist; then every process must report the same health.
    prober.wait_for_first(_FIRST_PROBES)
    services.health_probe.wait_for_first(_FIRST_PROBES)
    server = create_server(
        app,
        admit=admit,
        unix_socket=address,
        unix_socket_perms="600",
        threads=_THREADS,
        recv_bytes=_RECEIVE_BYTES,
        make_hashes=partial(BodyHashes, md5=_compares_md5(bundle)),
        channel_timeout=300,
        connection_limit=_CONNECTIONS,
        # Only nginx can reach the socket, and it sets these headers itself.
        clear_untrusted_proxy_headers=False,
        asyncore_use_poll=True,
    )
    gc.freeze()
    gc.enable()
    try:
        server.run()
    finally:
        services.access_log.stop()
    services.pulls.stop()
    heartbeat.stop()
    return 0


def _disable_preemption() -> None:
    """Let threads that wake up wait for those that run, which threads started later inherit.

    A thread that wakes up at the end of another one's system call would interrupt it, and then wait
    for Python's global lock, which that one holds. This took a tenth of a request's processor time.
    """
    # Some sandboxes do not permit it.
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _compares_md5(bundle: Bundle) -> bool:
    """Return whether a store compares the MD5 of what it is sent."""
    return any(not isinstance(one, LocalSettings) for one in bundle.stores.values())


def _end(*_signal: object) -> None:
    # waitress stops its threads when its loop raises this.
    raise SystemExit(0)
