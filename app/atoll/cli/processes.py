"""Commands that run the processes of a container.

Without options, `atoll.cli.main` runs most of these processes itself, before click is imported.
"""

from __future__ import annotations

import os

import click

from atoll.cli import container_processes
from atoll.cli.commands import Command, Entry, Group
from atoll.cli.output import note

_REPLICATION = {
    "Commands": {
        "status": Entry("atoll.cli.status:status", "Same as 'atoll status'"),
        "wait": Entry("atoll.cli.wait:wait", "Same as 'atoll wait'"),
    }
}


@click.command(cls=Command)
def registry() -> int:
    """Migrate the database, then serve the registry.

    This is the container's default command. It runs nginx in front of several web processes. On
    SIGTERM, requests in progress are finished first.
    """
    return container_processes.serve_registry(migrate=True)


@click.command(cls=Command)
def registry_nomigrate() -> int:
    """Serve the registry without migrating the database."""
    return container_processes.serve_registry(migrate=False)


@click.command(cls=Command)
@click.argument("socket")
def web(socket: str) -> int:
    """Run one web process behind nginx, on the unix socket SOCKET."""
    return container_processes.serve_web(socket)


@click.group(
    cls=Group,
    sections=_REPLICATION,
    invoke_without_command=True,
)
@click.pass_context
def replication(context: click.Context) -> int | None:
    """Run the replication worker of this site until SIGTERM."""
    if context.invoked_subcommand is not None:
        return None
    return container_processes.replicate()


@click.command(cls=Command)
def housekeeping() -> int:
    """Run maintenance for a site without replication until SIGTERM.

    Delivers notifications, exports the audit log, and deletes unreferenced manifests and blobs. At
    a site with replication, the replication worker does this.
    """
    return container_processes.run_maintenance()


@click.command(cls=Command)
def reload() -> int:
    """Reload the bundle in this container and wait until it is active.

    If the new bundle is invalid, the command fails and the current one stays active.
    """
    from atoll.server.reload import request_reload

    request_reload()
    note("the new bundle is active")
    return 0


@click.command(cls=Command)
def repomirror() -> int:
    """Migrate the database, then run the mirror worker of this site until SIGTERM.

    Any number of workers at any site share the work. ATOLL_MIRROR_COPIES is the number of tags that
    one process copies at once.
    """
    return container_processes.mirror(migrate=True)


@click.command(cls=Command)
def repomirror_nomigrate() -> int:
    """Run the mirror worker without migrating the database."""
    return container_processes.mirror(migrate=False)


@click.command(cls=Command)
def shell() -> int:
    """Run a shell in the container."""
    os.execv("/bin/bash", ["bash"])  # noqa: S606


@click.command(
    cls=Command,
    exit_codes={0: "The process is healthy.", 1: "The process is unhealthy or unresponsive."},
)
@click.option(
    "--alive", is_flag=True, help="Ignore the health of other services, such as PostgreSQL."
)
def healthcheck(alive: bool) -> int:
    """Check the health of the process in this container."""
    from atoll.server.healthcheck import healthcheck as check

    check(alive=alive)
    return 0
