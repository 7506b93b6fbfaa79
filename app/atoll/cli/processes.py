"""Commands that run the processes of a container.

Each imports its process when it runs, so that a process holds only what it needs in memory.
"""

from __future__ import annotations

import os

import click

from atoll.cli.commands import Command, Entry, Group
from atoll.errors import UserError

_REPLICATION = {
    "Commands": {
        "status": Entry("atoll.cli.status:status", "Same as 'atoll status'"),
        "wait": Entry("atoll.cli.wait:wait", "Same as 'atoll wait'"),
    }
}


@click.command(cls=Command)
def registry() -> int:
    """Migrate the database, then serve the registry.

    This is the container's default command: nginx in front of several web processes. SIGTERM stops
    them after the requests that are in progress.
    """
    from atoll.server.registry_process import serve

    return serve(migrate=True)


@click.command(cls=Command)
def registry_nomigrate() -> int:
    """Serve the registry without a migration of the database."""
    from atoll.server.registry_process import serve

    return serve(migrate=False)


@click.command(cls=Command)
@click.argument("socket")
def web(socket: str) -> int:
    """Run one web process behind nginx, on the unix socket SOCKET."""
    from atoll.server.web_process import serve

    return serve(socket)


@click.group(
    cls=Group,
    sections=_REPLICATION,
    invoke_without_command=True,
)
@click.pass_context
def replication(context: click.Context) -> int | None:
    """Run the replication worker of this site, until SIGTERM."""
    if context.invoked_subcommand is not None:
        return None
    from atoll.server.replication_process import replicate

    return replicate()


@click.command(cls=Command)
def housekeeping() -> int:
    """Run the maintenance of a site without replication, until SIGTERM.

    Delivers notifications, writes exports of the audit log, and deletes what is no longer used.
    With replication, the replication worker does the same.
    """
    from atoll.server.maintenance_process import run_maintenance

    return run_maintenance()


@click.command(cls=Command)
def reload() -> int:
    """Reload the bundle in this container, and wait until it is active.

    An invalid bundle is refused with the reason, and the old one stays active.
    """
    from atoll.server.reload import request_reload

    request_reload()
    return 0


@click.command(cls=Command)
def repomirror() -> int:
    """Mirror repositories (not available yet)."""
    raise UserError("repository mirroring comes in a later version of Atoll")


@click.command(cls=Command)
def shell() -> int:
    """Run a shell in the container."""
    os.execv("/bin/bash", ["bash"])  # noqa: S606


@click.command(
    cls=Command,
    exit_codes={0: "The process is healthy.", 1: "The process is unhealthy, or does not answer."},
)
@click.option(
    "--alive", is_flag=True, help="Succeed if only other services, such as PostgreSQL, are down."
)
def healthcheck(alive: bool) -> int:
    """Check the health of this container's process."""
    from atoll.server.healthcheck import healthcheck as check

    check(alive=alive)
    return 0
