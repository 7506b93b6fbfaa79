"""`atoll locations`: list locations and change their states."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import asdict

import click

from atoll.cli.commands import Command, Entry, Group
from atoll.cli.context import CommandContext
from atoll.cli.options import json_option
from atoll.cli.output import Cell, note, print_json, print_result, print_table
from atoll.placement.locations.life_cycle import LocationLifeCycle
from atoll.placement.locations.sole_copies import Remaining
from atoll.placement.locations.usage import LocationUsage

_FURTHER = {
    "remove": Entry("atoll.cli.removal:remove", "Remove a drained location from the registry"),
    "lost": Entry("atoll.cli.loss:lost", "List blobs that were lost with removed locations"),
    "purge": Entry("atoll.cli.purge:purge", "Delete all objects of a removed location"),
}


@click.group(cls=Group, sections={"Removal": _FURTHER}, invoke_without_command=True)
@json_option
@click.pass_context
def locations(context: click.Context, *, as_json: bool) -> None:
    """List, drain, activate, remove and purge locations.

    Without a command, lists the locations.
    """
    if context.invoked_subcommand is None:
        _list(context.obj, as_json=as_json)
    elif as_json:
        context.fail(f"Write --json after '{context.invoked_subcommand}'.")


@locations.command("list")
@json_option
@click.pass_obj
def list_locations(context: CommandContext, *, as_json: bool) -> None:
    """List locations, their states and their blobs.

    Sole copies are blobs without a copy at another location.
    """
    _list(context, as_json=as_json)


def _list(context: CommandContext, *, as_json: bool) -> None:
    services = context.services()
    usage = services.location_life_cycle.usage()
    if as_json:
        print_json([asdict(entry) for entry in usage])
        return
    print_usage(usage, services.bundle.stores)


def print_usage(usage: Sequence[LocationUsage], in_bundle: Container[str]) -> None:
    """Print a table of locations."""
    rows: list[list[Cell]] = [
        [
            entry.location,
            entry.state,
            "yes" if entry.location in in_bundle else "no",
            entry.placed_blobs,
            entry.missing_blobs,
            entry.only_there,
            entry.open_uploads,
        ]
        for entry in usage
    ]
    headings = ["location", "state", "in bundle", "blobs", "missing", "sole copies", "uploads"]
    print_table(headings, rows, empty="There are no locations; run 'atoll migrate'.")


@locations.command(
    cls=Command,
    examples=["atoll locations drain eustorage --wait"],
)
@click.argument("location")
@click.option("--wait", is_flag=True, help="Wait until the location holds no sole copy.")
@json_option
@click.pass_obj
def drain(context: CommandContext, location: str, *, wait: bool, as_json: bool) -> None:
    """Drain a location.

    Nothing new is written to it, and its sole copies are copied to other locations.
    """
    life_cycle = context.services().location_life_cycle
    remaining = life_cycle.drain(location)
    if wait and remaining:
        remaining = _wait(life_cycle, location)
    if as_json:
        print_json({"location": location, "drained": not remaining, **asdict(remaining)})
    elif remaining:
        print_result(
            f"{location} is draining: {_describe(remaining)}; wait with"
            f" `atoll drain {location} --wait`"
        )
    else:
        print_result(f"{location} is drained; remove it with `atoll remove-location {location}`")


def _wait(life_cycle: LocationLifeCycle, location: str) -> Remaining:
    """Note the progress of a drain whenever it changes, until nothing remains."""
    noted = ""
    remaining = Remaining(0, 0, 0)
    for progress in life_cycle.watch_drain(location):
        remaining = progress.remaining
        line = str(progress.unreachable or f"{location}: {_describe(remaining)}")
        if remaining and line != noted:
            note(line)
            noted = line
    return remaining


def _describe(remaining: Remaining) -> str:
    return (
        f"{remaining.blobs} blobs ({remaining.bytes} bytes) are only there, "
        f"{remaining.uploads} uploads have bytes there"
    )


@locations.command()
@click.argument("location")
@click.option("--read-only", is_flag=True, help="Read from it, but write nothing to it.")
@json_option
@click.pass_obj
def activate(context: CommandContext, location: str, *, read_only: bool, as_json: bool) -> None:
    """Return a drained location to use."""
    life_cycle = context.services().location_life_cycle
    if read_only:
        life_cycle.make_read_only(location)
    else:
        life_cycle.activate(location)
    state = life_cycle.states()[location]
    if as_json:
        print_json({"location": location, "state": state})
    else:
        print_result(f"{location} is {state}; missing copies are made in the background")
