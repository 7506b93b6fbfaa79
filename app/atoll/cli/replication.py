"""`atoll replication status` and `wait`: look at what is not yet where it must be."""

from __future__ import annotations

import argparse
import json
import sys
import time

from rich.console import Console
from rich.table import Table

from atoll.cli.bundle import load_bundle
from atoll.cli.graph import Graph
from atoll.cli.run import CommandFailed, say
from atoll.replication.lag import Lag, lag

_POLL_SECONDS = 0.5


def status(options: argparse.Namespace) -> int:
    """Print the lag of each location."""
    graph = Graph(load_bundle())
    found = lag(graph.database, graph.bundle.required_locations)
    if options.json:
        json.dump([entry.as_dict() for entry in found], sys.stdout)
        sys.stdout.write("\n")
    else:
        _print_table(found)
    return 0


def wait(options: argparse.Namespace) -> int:
    """Wait until nothing is missing anywhere; raise CommandFailed when the time is up."""
    graph = Graph(load_bundle())
    deadline = None if options.timeout is None else time.monotonic() + options.timeout
    told: int | None = None
    while True:
        behind = [
            entry
            for entry in lag(graph.database, graph.bundle.required_locations)
            if entry.missing_blobs
        ]
        if not behind:
            say("every blob is at every location where it must be")
            return 0
        missing = sum(entry.missing_blobs for entry in behind)
        if missing != told:
            say("; ".join(f"{e.location} lacks {e.missing_blobs} blobs" for e in behind))
            told = missing
        if deadline is not None and time.monotonic() > deadline:
            raise CommandFailed(
                f"{missing} copies are still missing; see `atoll replication status`"
            )
        time.sleep(_POLL_SECONDS)


def _print_table(found: list[Lag]) -> None:
    table = Table("location", "state", "blobs", "missing", "bytes missing", "oldest", "last error")
    for entry in found:
        table.add_row(
            entry.location,
            entry.state,
            str(entry.placed_blobs),
            str(entry.missing_blobs),
            str(entry.missing_bytes),
            f"{entry.oldest_seconds:.0f} s" if entry.missing_blobs else "",
            entry.last_error or "",
        )
    Console().print(table)
