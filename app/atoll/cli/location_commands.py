"""The click declarations of the commands of locations."""

from __future__ import annotations

from argparse import Namespace

import click

from atoll.cli.commands import Group
from atoll.cli.options import json_option, yes_option
from atoll.cli.output import print_json

_LOCATION = click.argument("location")


@click.group(cls=Group, invoke_without_command=True)
@json_option
@click.pass_context
def locations(context: click.Context, as_json: bool) -> int | None:
    """List, drain, activate, remove and purge locations.

    Without a command, lists the locations.
    """
    if context.invoked_subcommand is not None:
        return None
    return _list(as_json)


@locations.command("list")
@json_option
def list_locations(as_json: bool) -> int:
    """List the locations, their states and their blobs."""
    return _list(as_json)


def _list(as_json: bool) -> int:
    from atoll.cli.locations import locations as command

    return command(Namespace(json=as_json))


@locations.command()
@_LOCATION
@click.option("--wait", is_flag=True, help="Wait until the location holds no sole copy.")
@json_option
def drain(location: str, wait: bool, as_json: bool) -> int:
    """Drain a location.

    Nothing new is written to it, and its sole copies are copied to other locations.
    """
    from atoll.cli.locations import drain as command

    return command(Namespace(location=location, wait=wait, json=as_json))


@locations.command()
@_LOCATION
@click.option("--read-only", is_flag=True, help="Read from it, but write nothing to it.")
@json_option
def activate(location: str, read_only: bool, as_json: bool) -> int:
    """Return a drained location to use."""
    from atoll.cli.locations import activate as command

    status = command(Namespace(location=location, read_only=read_only))
    if as_json:
        print_json({"location": location, "state": "read-only" if read_only else "active"})
    return status


@locations.command()
@_LOCATION
@click.option("--dry-run", is_flag=True, help="Only check whether it can be removed.")
@yes_option
@click.option("--undo", is_flag=True, help="Restore the placements of an unfinished removal.")
@click.option(
    "--verified-since",
    metavar="DURATION",
    help="Count only other copies that were hashed within this time, such as 7d.",
)
@click.option(
    "--check-objects", is_flag=True, help="Ask the stores for each copy that would be the last."
)
@click.option(
    "--yes-unverified", is_flag=True, help="Also count copies at stores that no site can read."
)
@click.option(
    "--lost",
    is_flag=True,
    help="Remove a location whose store is gone, with the blobs that are lost.",
)
@click.option(
    "--accept-loss", type=int, metavar="BLOBS", help="The exact number of blobs that are lost."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, with --lost.")
def remove(
    *,
    location: str,
    dry_run: bool,
    yes: bool,
    undo: bool,
    verified_since: str | None,
    check_objects: bool,
    yes_unverified: bool,
    lost: bool,
    accept_loss: int | None,
    as_json: bool,
) -> int:
    """Remove a drained location from the registry.

    Refuses while a blob has its sole copy there. The objects in its store are kept.
    """
    from atoll.cli.removal import remove_location as command

    return command(
        Namespace(
            location=location,
            dry_run=dry_run,
            yes=yes,
            undo=undo,
            verified_since=verified_since,
            check_objects=check_objects,
            yes_unverified=yes_unverified,
            lost=lost,
            accept_loss=accept_loss,
            json=as_json,
        )
    )


@locations.command()
@json_option
def lost(as_json: bool) -> int:
    """List blobs that were lost with removed locations."""
    from atoll.cli.loss import show_lost as command

    return command(Namespace(json=as_json))


@locations.command()
@_LOCATION
@click.option(
    "--config",
    required=True,
    metavar="FILE",
    help="A config.yaml that contains the location, or - for standard input.",
)
@click.option("--dry-run", is_flag=True, help="Only count the objects.")
@yes_option
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="OBJECTS",
    help="Stop after this number; run it again to resume.",
)
@json_option
def purge(
    *, location: str, config: str, dry_run: bool, yes: bool, limit: int | None, as_json: bool
) -> int:
    """Delete all objects of a removed location from its store."""
    from atoll.cli.purge import purge_store as command

    return command(
        Namespace(
            location=location, config=config, dry_run=dry_run, yes=yes, limit=limit, json=as_json
        )
    )
