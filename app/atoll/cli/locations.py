"""`atoll locations`, `drain` and `activate`: list locations and change their states."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from atoll.cli.run import say
from atoll.placement.locations.life_cycle import LocationLifeCycle
from atoll.placement.locations.sole_copies import Remaining
from atoll.server.bundle import load_bundle_to_administer
from atoll.server.container import wire_services


def locations(options: argparse.Namespace) -> int:
    """Print each location with its state and its blobs."""
    services = wire_services(load_bundle_to_administer())
    usage = services.location_life_cycle.usage()
    if options.json:
        sys.stdout.write(json.dumps([asdict(entry) for entry in usage]) + "\n")
        return 0
    table = Table("location", "state", "in the bundle", "blobs", "missing", "only there")
    for entry in usage:
        table.add_row(
            entry.location,
            entry.state,
            "yes" if entry.location in services.bundle.stores else "no",
            str(entry.placed_blobs),
            str(entry.missing_blobs),
            str(entry.only_there),
        )
    Console().print(table)
    return 0


def drain(options: argparse.Namespace) -> int:
    """Start or resume to drain a location; with --wait return when nothing remains there."""
    life_cycle = wire_services(load_bundle_to_administer()).location_life_cycle
    location: str = options.location
    remaining = life_cycle.drain(location)
    if options.wait and remaining:
        remaining = _wait(life_cycle, location)
    if options.json:
        report = {"location": location, "drained": not remaining, **asdict(remaining)}
        sys.stdout.write(json.dumps(report) + "\n")
    elif remaining:
        say(
            f"{location} is draining: {_text(remaining)}; wait with `atoll drain {location} --wait`"
        )
    else:
        say(f"{location} is drained; remove it with `atoll remove-location {location}`")
    return 0


def activate(options: argparse.Namespace) -> int:
    """Return a location to use, with --read-only for reads only."""
    life_cycle = wire_services(load_bundle_to_administer()).location_life_cycle
    if options.read_only:
        life_cycle.make_read_only(options.location)
    else:
        life_cycle.activate(options.location)
    state = life_cycle.states()[options.location]
    say(f"{options.location} is {state}; missing copies are made in the background")
    return 0


def _wait(life_cycle: LocationLifeCycle, location: str) -> Remaining:
    """Print the progress of a drain whenever it changes, until nothing remains."""
    shown = ""
    remaining = Remaining(0, 0, 0)
    for progress in life_cycle.watch_drain(location):
        remaining = progress.remaining
        line = str(progress.unreachable or f"{location}: {_text(remaining)}")
        if remaining and line != shown:
            say(line)
            shown = line
    return remaining


def _text(remaining: Remaining) -> str:
    return (
        f"{remaining.blobs} blobs ({remaining.bytes} bytes) are only there, "
        f"{remaining.uploads} uploads have bytes there"
    )
