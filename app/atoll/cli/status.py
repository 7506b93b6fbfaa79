"""`atoll status`: the instances, the locations and what is to be copied, at a glance."""

from __future__ import annotations

import argparse
import json
import sys

from rich.console import Console
from rich.table import Table

from atoll import exit_codes
from atoll.cluster.instances import Instance
from atoll.placement.status import StatusReport, StatusReporter
from atoll.server.bundle import load_bundle_to_administer
from atoll.server.container import wire_services


def status(options: argparse.Namespace) -> int:
    """Print how things are; 0 if nobody has to look, FAILED else."""
    found = StatusReporter(wire_services(load_bundle_to_administer()).database).report()
    problems = found.problems(options.max_lag)
    if options.json:
        sys.stdout.write(json.dumps({**found.as_dict(), "problems": problems}) + "\n")
    else:
        console = Console()
        console.print(_instances(found))
        console.print(_locations(found))
        for problem in problems:
            console.print(f"[bold]![/bold] {problem}", highlight=False)
    return exit_codes.FAILED if problems else 0


def _instances(found: StatusReport) -> Table:
    table = Table("preference", "role", "host", "version", "seen", "bundle")
    for one in found.instances:
        table.add_row(
            " ".join(one.preference),
            one.role,
            one.hostname,
            one.version,
            f"{one.seen_seconds_ago:.0f} s ago" + (", lost" if one.lost else ""),
            f"other {', '.join(one.drift)}" if one.drift else "as the others",
        )
    return table


def _locations(found: StatusReport) -> Table:
    table = Table(
        "location",
        "state",
        "store",
        "to copy",
        "bytes",
        "oldest",
        "failing",
        "error",
        "to delete",
    )
    for entry in found.locations:
        table.add_row(
            entry.location,
            entry.state,
            _health(found.instances, entry.location),
            str(entry.pending_blobs),
            str(entry.pending_bytes),
            f"{entry.oldest_seconds:.0f} s" if entry.pending_blobs else "",
            str(entry.failing_blobs),
            entry.last_error or "",
            str(found.deletions.get(entry.location, 0)),
        )
    return table


def _health(instances: list[Instance], location: str) -> str:
    """Return how the living instances see a location's store."""
    seen = [
        one.stores[location]["up"] for one in instances if not one.lost and location in one.stores
    ]
    if not seen:
        return "nobody looks"
    up = sum(1 for one in seen if one)
    return "up" if up == len(seen) else f"up for {up} of {len(seen)}"
