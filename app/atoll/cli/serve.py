"""`atoll registry`: nginx in front of waitress processes; `atoll web` is one of those."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path

import waitress

from atoll import logs
from atoll.cli.children import Child, Children
from atoll.cli.graph import Graph, load_bundle, write_ca_bundle
from atoll.cli.migrate import prepare_database
from atoll.cli.nginx import write_nginx_configuration
from atoll.cli.operations import operations_socket, serve_operations
from atoll.cli.presence import announce
from atoll.cli.run import CommandFailed
from atoll.cli.runtime import HEALTH_URL_FILE, prepare_runtime_directory, spool_directory
from atoll.web.app import create_app, create_operations_app
from atoll.web.health import EndToEndHealth, InstanceHealth

_THREADS = 8
# waitress reads 8 KiB at a time by itself, which makes Python the bottleneck of a push.
_RECEIVE_BYTES = 256 * 1024
_PROCESSES_MINIMUM, _PROCESSES_MAXIMUM = 2, 8


def registry(options: argparse.Namespace) -> int:
    """Serve the registry until a signal comes or one of its processes dies."""
    logs.set_up()
    bundle = load_bundle()
    runtime = prepare_runtime_directory()
    write_ca_bundle()
    if options.migrate:
        prepare_database(Graph(bundle))
    metrics = runtime / "metrics"
    metrics.mkdir(exist_ok=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(metrics)
    sockets = [runtime / f"web-{number}.sock" for number in range(_processes())]
    configuration = write_nginx_configuration(
        runtime, sockets, [operations_socket(path) for path in sockets], bundle.maximum_layer_size
    )
    (runtime / HEALTH_URL_FILE).write_text("http://127.0.0.1:8080/health/instance")

    children = Children()
    children.stop_on_signals()
    for socket in sockets:
        for path in (socket, operations_socket(socket)):
            path.unlink(missing_ok=True)
        command = [sys.executable, "-m", "atoll.cli.main", "web", str(socket)]
        children.start(Child(socket.stem, command, stop_signal=signal.SIGTERM))
    if not bundle.feature_storage_replication:
        # Else the replication worker, which has its own unit, does this.
        command = [sys.executable, "-m", "atoll.cli.main", "housekeeping"]
        children.start(Child("housekeeping", command, stop_signal=signal.SIGTERM))
    children.wait_for_files(sockets)
    # nginx is started last and stopped first: what it has accepted, it and the others finish.
    nginx = ["nginx", "-c", str(configuration), "-e", "stderr"]
    children.start(Child("nginx", nginx, stop_signal=signal.SIGQUIT))
    announce(Graph(bundle), "registry")
    return children.supervise()


def web(options: argparse.Namespace) -> int:
    """Serve the registry's application on a unix socket."""
    logs.set_up()
    bundle = load_bundle()
    # waitress spools bodies to temporary files without a name: nothing is left after a crash.
    tempfile.tempdir = str(spool_directory())
    graph = Graph(bundle, connections=_THREADS + 1)
    app = create_app(graph.dependencies())
    graph.locations.start_probing()
    graph.vitals.start()
    graph.pulls.start()
    serve_operations(
        create_operations_app(
            InstanceHealth(graph.vitals), EndToEndHealth(graph.vitals, graph.locations)
        ),
        unix_socket=str(operations_socket(Path(options.socket))),
        unix_socket_perms="600",
    )
    signal.signal(signal.SIGTERM, _end)
    waitress.serve(
        app,
        unix_socket=options.socket,
        unix_socket_perms="600",
        threads=_THREADS,
        recv_bytes=_RECEIVE_BYTES,
        max_request_body_size=bundle.maximum_layer_size,
        channel_timeout=300,
        connection_limit=1000,
        # Only nginx can reach the socket, and it sets these headers itself.
        clear_untrusted_proxy_headers=False,
        asyncore_use_poll=True,
        ident=None,
    )
    graph.pulls.stop()
    return 0


def repomirror(options: argparse.Namespace) -> int:
    """Say that there is no mirroring yet."""
    del options
    raise CommandFailed("repository mirroring comes in a later version of Atoll")


def shell(options: argparse.Namespace) -> int:
    """Become a shell."""
    del options
    os.execv("/bin/bash", ["bash"])  # noqa: S606 - what `shell` is for


def _processes() -> int:
    """Return WORKER_COUNT_REGISTRY or WORKER_COUNT, as in Quay, or a number that fits the cores."""
    for variable in ("WORKER_COUNT_REGISTRY", "WORKER_COUNT"):
        text = os.environ.get(variable)
        if text:
            if not text.isdecimal() or int(text) == 0:
                raise CommandFailed(f"{variable} must be a number of processes, not '{text}'")
            return int(text)
    return min(max(os.cpu_count() or 1, _PROCESSES_MINIMUM), _PROCESSES_MAXIMUM)


def _end(*_signal: object) -> None:
    # waitress ends its threads when this comes through its loop.
    raise SystemExit(0)
