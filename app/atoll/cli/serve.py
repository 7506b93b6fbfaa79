"""`atoll registry`: nginx in front of waitress processes, which it starts, watches and ends.

It lives as long as they do, so it imports little: migration and web processes are other programs.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from uuid import uuid4

from atoll import logs
from atoll.cli.bundle import load_bundle, write_ca_bundle
from atoll.cli.children import Child, Children
from atoll.cli.nginx import write_nginx_configuration
from atoll.cli.presence import INSTANCE_VARIABLE
from atoll.cli.run import CommandFailed
from atoll.cli.runtime import (
    HEALTH_URL_FILE,
    LEAVING_FILE,
    bundle_directory,
    number,
    operations_socket,
    prepare_runtime_directory,
)
from atoll.cli.tls import read_certificate

_PROCESSES_MINIMUM, _PROCESSES_MAXIMUM = 2, 8
# Seconds for requests in hand to be finished after SIGTERM; a large layer takes its time.
_DRAIN, _DRAIN_MAXIMUM = 300, 24 * 3600
# Seconds before that in which it serves on and says that it leaves, for load balancers to notice.
_NOTICE, _NOTICE_MAXIMUM = 0, 300
_ATOLL = [sys.executable, "-m", "atoll.cli.main"]


def registry(options: argparse.Namespace) -> int:
    """Serve the registry until a signal comes or one of its processes dies."""
    logs.set_up()
    bundle = load_bundle()
    certificate = read_certificate(bundle, bundle_directory())
    drain = number("ATOLL_DRAIN_TIMEOUT", _DRAIN, _DRAIN_MAXIMUM)
    notice = number("ATOLL_DRAIN_NOTICE", _NOTICE, _NOTICE_MAXIMUM, minimum=0)
    runtime = prepare_runtime_directory()
    (runtime / LEAVING_FILE).unlink(missing_ok=True)
    write_ca_bundle()
    children = Children(drain, notice, runtime / LEAVING_FILE)
    children.stop_on_signals()
    if options.migrate:
        migration = Child("migrate", [*_ATOLL, "migrate"], stop_signal=signal.SIGTERM)
        status = children.run_first(migration)
        if status or children.stopping:
            return status
    metrics = runtime / "metrics"
    metrics.mkdir(exist_ok=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(metrics)
    os.environ[INSTANCE_VARIABLE] = str(uuid4())
    sockets = [runtime / f"web-{index}.sock" for index in range(_processes())]
    configuration = write_nginx_configuration(
        runtime, bundle, certificate, sockets, [operations_socket(path) for path in sockets]
    )
    (runtime / HEALTH_URL_FILE).write_text("http://127.0.0.1:8080/health/instance")

    for socket in sockets:
        for path in (socket, operations_socket(socket)):
            path.unlink(missing_ok=True)
        command = [*_ATOLL, "web", str(socket)]
        children.start(Child(socket.stem, command, stop_signal=signal.SIGTERM))
    if not bundle.feature_storage_replication:
        # Else the replication worker, which has its own unit, does this.
        command = [*_ATOLL, "housekeeping"]
        children.start(Child("housekeeping", command, stop_signal=signal.SIGTERM))
    children.wait_for_files(sockets)
    # nginx is started last and stopped first: what it has accepted, it and the others finish.
    nginx = ["nginx", "-c", str(configuration), "-e", "stderr"]
    children.start(Child("nginx", nginx, stop_signal=signal.SIGQUIT))
    return children.supervise()


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
