"""The main process of the registry: starts, supervises and stops nginx and the web processes.

It stays in memory as long as they run, so migrations and web processes are separate programs.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from atoll import logs
from atoll.errors import UserError
from atoll.server.frontend import Frontend
from atoll.server.generation import load_bundle_directory
from atoll.server.paths import DRAINING_FILE, HEALTH_URL_FILE, number, prepare_runtime_directory
from atoll.server.reload import Reloads
from atoll.server.supervisor import Supervisor

_PROCESSES_MINIMUM, _PROCESSES_MAXIMUM = 2, 8
# Seconds for requests in progress to finish after SIGTERM; a large layer may take minutes.
_DRAIN, _DRAIN_MAXIMUM = 300, 24 * 3600
# Seconds before that in which it still serves but reports 503, for load balancers to notice.
_NOTICE, _NOTICE_MAXIMUM = 0, 300
# Concurrent requests per client address, which many machines may share. 0 disables the limit.
_CLIENT_CONNECTIONS, _CLIENT_CONNECTIONS_MAXIMUM = 256, 1_000_000


def serve(*, migrate: bool) -> int:
    """Serve the registry until SIGTERM or until one of its processes dies.

    Args:
        migrate: whether to migrate the database first.

    Returns:
        The exit code.
    """
    logs.set_up()
    drain = number("ATOLL_DRAIN_TIMEOUT", _DRAIN, _DRAIN_MAXIMUM)
    notice = number("ATOLL_DRAIN_NOTICE", _NOTICE, _NOTICE_MAXIMUM, minimum=0)
    client_connections = number(
        "ATOLL_CLIENT_CONNECTIONS", _CLIENT_CONNECTIONS, _CLIENT_CONNECTIONS_MAXIMUM, minimum=0
    )
    runtime = prepare_runtime_directory()
    reloads = Reloads(runtime)
    reloads.listen()
    loaded = load_bundle_directory()
    (runtime / DRAINING_FILE).unlink(missing_ok=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(prepare_metrics_directory(runtime))
    supervisor = Supervisor(drain, notice, runtime / DRAINING_FILE)
    supervisor.stop_on_signals()
    frontend = Frontend(
        supervisor,
        reloads,
        runtime,
        processes=_processes(),
        drain=drain,
        client_connections=client_connections,
        migrate=migrate,
    )
    status = frontend.migrate()
    if status or supervisor.stopping:
        return status
    (runtime / HEALTH_URL_FILE).write_text("http://127.0.0.1:8080/health/instance")
    frontend.start(loaded)
    return supervisor.supervise(frontend.step)


def prepare_metrics_directory(runtime: Path) -> Path:
    """Create an empty directory for the metrics of this container's processes, and return it.

    The runtime directory of a pod survives its containers. Metrics of their processes would be
    added to those of this container.
    """
    directory = runtime / "metrics"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    return directory


def _processes() -> int:
    """Return the number of web processes.

    WORKER_COUNT_REGISTRY or WORKER_COUNT, as in Quay, or one per core within limits.
    """
    for variable in ("WORKER_COUNT_REGISTRY", "WORKER_COUNT"):
        text = os.environ.get(variable)
        if text:
            if not text.isdecimal() or int(text) == 0:
                raise UserError(f"{variable} must be a number of processes, not '{text}'")
            return int(text)
    return min(max(os.cpu_count() or 1, _PROCESSES_MINIMUM), _PROCESSES_MAXIMUM)
