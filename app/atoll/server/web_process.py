"""A web process of the registry, behind nginx."""

from __future__ import annotations

import signal
import tempfile
from pathlib import Path

from atoll import logs
from atoll.server.background_server import OPERATIONS_THREADS, serve_beside
from atoll.server.bundle import load_bundle
from atoll.server.container import wire_services
from atoll.server.heartbeat import Announcer
from atoll.server.paths import downloads_socket, operations_socket, spool_directory
from atoll.storage.states import refresh_in_background
from atoll.web.app import create_admission, create_app, create_operations_app
from atoll.web.health import EndToEndHealth, InstanceHealth
from atoll.web.server import create_server

_THREADS = 8
# Bytes that pass through here (FEATURE_PROXY_STORAGE) hold a thread for as long as a client takes,
# and, in memory, so many of them that it did not take yet.
_DOWNLOADS = 32
_DOWNLOAD_BYTES = 2**20
# As many as one of nginx' processes has, so that nginx limits connections, which knows the clients.
_CONNECTIONS = 4096
# waitress reads 8 KiB at a time by itself, which makes Python the bottleneck of a push.
_RECEIVE_BYTES = 256 * 1024
# Seconds to find out what is well before this process serves and says so.
_FIRST_LOOK = 10.0


def serve(address: str) -> int:
    """Serve the registry's application on the unix socket ADDRESS, until SIGTERM."""
    logs.set_up()
    bundle = load_bundle()
    # waitress spools bodies to temporary files without a name: nothing is left after a crash.
    tempfile.tempdir = str(spool_directory())
    graph = wire_services(bundle, connections=_THREADS + 2)
    graph.require_sessions()
    dependencies = graph.dependencies()
    app = create_app(dependencies)
    admit = create_admission(dependencies)
    prober = graph.locations.start_probing(graph.thread_registry)
    graph.doubt_sharing.start(graph.thread_registry)
    refresh_in_background(graph.locations.states, graph.database, graph.thread_registry)
    graph.vitals.start(graph.thread_registry)
    graph.reads.start(graph.thread_registry)
    graph.pulls.start(graph.thread_registry)
    announcer = Announcer(graph, "registry")
    announcer.start()
    socket = Path(address)
    serve_beside(
        "operations",
        create_operations_app(
            InstanceHealth(graph.vitals, graph.thread_registry),
            EndToEndHealth(graph.vitals, graph.locations),
        ),
        threads=OPERATIONS_THREADS,
        unix_socket=str(operations_socket(socket)),
        unix_socket_perms="600",
    )
    serve_beside(
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
    # nginx serves when all processes have their sockets, and each is to tell the same of health.
    prober.wait_for_first(_FIRST_LOOK)
    graph.vitals.wait_for_first(_FIRST_LOOK)
    server = create_server(
        app,
        admit=admit,
        unix_socket=address,
        unix_socket_perms="600",
        threads=_THREADS,
        recv_bytes=_RECEIVE_BYTES,
        channel_timeout=300,
        connection_limit=_CONNECTIONS,
        # Only nginx can reach the socket, and it sets these headers itself.
        clear_untrusted_proxy_headers=False,
        asyncore_use_poll=True,
    )
    server.run()
    graph.pulls.stop()
    announcer.stop()
    return 0


def _end(*_signal: object) -> None:
    # waitress ends its threads when this comes through its loop.
    raise SystemExit(0)
