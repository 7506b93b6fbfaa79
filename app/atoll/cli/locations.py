"""`atoll locations`, `drain` and `activate`: the locations' states, and how to change them."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from atoll.cli.polling import look_later
from atoll.cli.run import CommandFailed, say
from atoll.cluster.instances import Instances
from atoll.placement.locations.drain import (
    LocationNeeded,
    LocationUnknown,
    Remaining,
    begin_draining,
    remaining,
    set_state,
    stuck,
)
from atoll.placement.locations.usage import holdings
from atoll.placement.upkeep.backfill import backfill
from atoll.server.bundle import load_bundle_to_administer, require_replication
from atoll.server.container import wire_services
from atoll.services import Services
from atoll.storage.states import ACTIVE, READ_ONLY


def locations(options: argparse.Namespace) -> int:
    """Print every location with its state, and what it alone has."""
    graph = wire_services(load_bundle_to_administer())
    holding = holdings(graph.patient_database, graph.bundle.required_locations)
    found = [asdict(entry) for entry in holding]
    if options.json:
        sys.stdout.write(json.dumps(found) + "\n")
        return 0
    table = Table("location", "state", "in the bundle", "blobs", "missing", "only there")
    for row in found:
        table.add_row(
            row["location"],
            row["state"],
            "yes" if row["location"] in graph.bundle.stores else "no",
            str(row["placed_blobs"]),
            str(row["missing_blobs"]),
            str(row["only_there"]),
        )
    Console().print(table)
    return 0


def drain(options: argparse.Namespace) -> int:
    """Begin to drain a location, or go on with it; with --wait until nothing keeps it."""
    graph = wire_services(load_bundle_to_administer())
    require_replication(graph.bundle)
    database = graph.patient_database
    location: str = options.location
    required = graph.bundle.required_locations
    if dead := _dead(graph, location):
        raise CommandFailed(dead)
    try:
        begin_draining(database, location, required)
    except (LocationUnknown, LocationNeeded) as error:
        raise CommandFailed(str(error)) from error
    for _ in backfill(database, required):
        continue
    if nowhere := stuck(database, location, required):
        raise CommandFailed(
            f"{nowhere} blobs are only at '{location}', and policies let them be nowhere else:"
            " change those (`atoll policy list`) and drain again"
        )
    left = remaining(database, location)
    if options.wait:
        left = _wait(graph, location, left)
    if options.json:
        report = {"location": location, "drained": not left, **left.__dict__}
        sys.stdout.write(json.dumps(report) + "\n")
    elif left:
        say(f"{location} is draining: {_told(left)}; wait with `atoll drain {location} --wait`")
    else:
        say(f"{location} is drained; remove it with `atoll remove-location {location}`")
    return 0


def activate(options: argparse.Namespace) -> int:
    """Use a location again."""
    database = wire_services(load_bundle_to_administer()).database
    state = READ_ONLY if options.read_only else ACTIVE
    try:
        set_state(database, options.location, state)
    except (LocationUnknown, LocationNeeded) as error:
        raise CommandFailed(str(error)) from error
    say(f"{options.location} is {state}; what it lacks comes by itself")
    return 0


def _wait(graph: Services, location: str, left: Remaining) -> Remaining:
    told = None
    while left:
        line = _dead(graph, location) or f"{location}: {_told(left)}"
        if line != told:
            say(line)
            told = line
        left = look_later(lambda: remaining(graph.patient_database, location))
    return left


def _dead(graph: Services, location: str) -> str | None:
    """Return a sentence if nothing can be copied from a location that is needed, for now or ever.

    What is needed is copied from it as soon as one site finds its store up.
    """
    seen = Instances(graph.database).reachability(location)
    left = remaining(graph.patient_database, location) if seen.unreachable else None
    if left is None or not left.blobs:
        return None
    host, cause = next(iter(seen.unreachable_from.items()))
    return (
        f"{left.blobs} blobs ({left.bytes} bytes) are only at '{location}', and no site reaches its"
        f" store ({host}: {cause}), so they cannot be copied: bring it back and drain again; if it"
        f" is gone for good: atoll remove-location {location} --lost"
    )


def _told(left: Remaining) -> str:
    return (
        f"{left.blobs} blobs ({left.bytes} bytes) are only there, "
        f"{left.uploads} uploads have bytes there"
    )
