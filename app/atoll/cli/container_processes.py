"""The processes of a container, which start without click and the tables of the command line.

Their imports would lengthen each start. `atoll.cli.processes` has the commands of the same
names, which have the help.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from atoll.cli.errors import explain

if TYPE_CHECKING:
    from atoll.config import Bundle

# The exit code that shells use for a process terminated by SIGINT.
INTERRUPTED = 130


def serve_registry(*, migrate: bool) -> int:
    """Serve the registry until SIGTERM.

    Args:
        migrate: whether to migrate the database first.
    """
    from atoll.server.registry_process import serve

    return serve(run_process, migrate=migrate)


def migrate() -> int:
    """Migrate the database."""
    from atoll.server.migration import migrate

    return migrate(_load_bundle())


def serve_web(socket: str) -> int:
    """Run one web process behind nginx, on a unix socket."""
    from atoll.server.web_process import serve

    return serve(socket, _load_bundle())


def replicate() -> int:
    """Run the replication worker until SIGTERM."""
    from atoll.server.replication_process import replicate

    return replicate()


def run_maintenance() -> int:
    """Run the maintenance of a site without replication until SIGTERM."""
    from atoll.server.maintenance_process import run_maintenance

    return run_maintenance(_load_bundle())


def mirror(*, migrate: bool) -> int:
    """Run the mirror worker until SIGTERM.

    Args:
        migrate: whether to migrate the database first.
    """
    from atoll.server.mirror_process import mirror

    return mirror(migrate=migrate)


def _load_bundle() -> Bundle:
    """Return the bundle; warnings about it are logged."""
    from atoll import logs
    from atoll.server.bundle import load_bundle

    logs.set_up()
    return load_bundle()


# The commands without arguments.
_PROCESSES: dict[str, Callable[[], int]] = {
    "registry": partial(serve_registry, migrate=True),
    "registry-nomigrate": partial(serve_registry, migrate=False),
    "migrate": migrate,
    "replication": replicate,
    "housekeeping": run_maintenance,
    "repomirror": partial(mirror, migrate=True),
    "repomirror-nomigrate": partial(mirror, migrate=False),
}


def find_process(words: Sequence[str]) -> Callable[[], int] | None:
    """Return what runs the process that a command starts, None for other commands and options.

    Args:
        words: the words after `atoll`.
    """
    match words:
        case [name]:
            return _PROCESSES.get(name)
        case ["web", socket] if not socket.startswith("-"):
            return partial(serve_web, socket)
    return None


def run_process(process: Callable[[], int]) -> int:
    """Run a process and return its exit code, see `atoll.exit_codes`."""
    try:
        return process()
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        explained = explain(error)
        if explained is None:
            raise
        code, message = explained
        sys.stderr.write(f"{message}\n")
        return code
