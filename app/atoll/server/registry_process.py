"""The main process of the registry: starts, supervises and stops nginx and the web processes.

The other processes are forks of this one, and share the modules that it has imported.
"""

from __future__ import annotations

import gc
import mimetypes
import os
import shutil
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from atoll import logs
from atoll.errors import UserError
from atoll.server.forks import Run
from atoll.server.paths import DRAINING_FILE, HEALTH_URL_FILE, number, prepare_runtime_directory
from atoll.server.reload import Reloads
from atoll.server.supervisor import Supervisor

if TYPE_CHECKING:
    from atoll.config import Bundle

# What the forks run. Importing it starts no thread and opens no connection.
_SHARED_MODULES = (
    "atoll.server.frontend",
    "atoll.server.web_process",
)
# The directory of metrics in the runtime directory.
_METRICS = "metrics"
_PROCESSES_MINIMUM, _PROCESSES_MAXIMUM = 2, 8
# Seconds for requests in progress to finish after SIGTERM; a large layer may take minutes.
_DRAIN, _DRAIN_MAXIMUM = 300, 24 * 3600
# Seconds before that in which it still serves but reports 503, for load balancers to notice.
_NOTICE, _NOTICE_MAXIMUM = 0, 300
# Concurrent requests per client address, which many machines may share. 0 disables the limit.
_CLIENT_CONNECTIONS, _CLIENT_CONNECTIONS_MAXIMUM = 256, 1_000_000


def serve(run: Run, *, migrate: bool) -> int:
    """Serve the registry until SIGTERM or until one of its processes dies.

    Args:
        run: runs a process; called in forks of this one.
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
    # What is created from here on stays, so there is no garbage.
    gc.disable()
    _import_modules(runtime)
    from atoll.server.frontend import Frontend
    from atoll.server.generation import load_bundle_directory
    from atoll.storage.drivers import preload_drivers

    loaded = load_bundle_directory()
    _import_optional_modules(loaded.bundle, runtime)
    (runtime / DRAINING_FILE).unlink(missing_ok=True)
    supervisor = Supervisor(drain, notice, runtime / DRAINING_FILE)
    supervisor.stop_on_signals()
    frontend = Frontend(
        supervisor,
        reloads,
        runtime,
        run,
        processes=_processes(),
        drain=drain,
        client_connections=client_connections,
        migrate=migrate,
    )
    status = frontend.migrate(loaded.bundle, lambda: preload_drivers(loaded.bundle.stores.values()))
    if status or supervisor.stopping:
        return status
    (runtime / HEALTH_URL_FILE).write_text("http://127.0.0.1:8080/health/instance")
    frontend.start(loaded)
    gc.enable()
    return supervisor.supervise(frontend.step)


def prepare_metrics_directory(runtime: Path) -> Path:
    """Create an empty directory for the metrics of this container's processes, and return it.

    The runtime directory of a pod survives its containers. Metrics of their processes would be
    added to those of this container.
    """
    directory = runtime / _METRICS
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    return directory


def _import_modules(runtime: Path) -> None:
    """Import the modules that the other processes share with this one."""
    metrics = prepare_metrics_directory(runtime)
    # The client library reads it when it is imported.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(metrics)
    _import(_SHARED_MODULES, metrics)


def _import_optional_modules(bundle: Bundle, runtime: Path) -> None:
    """Import further modules that the processes of a bundle share."""
    optional = {
        "atoll.server.maintenance_process": not bundle.feature_storage_replication,
        "atoll.web.api.mirror_resources": bundle.feature_repo_mirror,
        "atoll.scanning.scanning": bundle.feature_security_scanner,
    }
    _import([name for name, is_used in optional.items() if is_used], runtime / _METRICS)


def _import(names: Iterable[str], metrics: Path) -> None:
    for name in names:
        import_module(name)
    # Falcon reads the tables of media types in each process otherwise.
    mimetypes.init()
    # Each fork creates files of its own. Those of this process would report zeros.
    for file in metrics.glob(f"*_{os.getpid()}.db"):
        file.unlink()


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
