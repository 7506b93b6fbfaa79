"""`atoll backfill`: queue every copy that is missing, and wait for it if asked to."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from atoll import exit_codes
from atoll.cli.polling import look_later
from atoll.cli.run import say
from atoll.errors import UserError
from atoll.placement.rules import targets
from atoll.placement.upkeep import backfill as domain
from atoll.server.bundle import load_bundle_to_administer, require_replication
from atoll.server.container import wire_services
from atoll.services import Services


@dataclass
class Missing:
    """What one location lacks: blobs, and their bytes."""

    blobs: int = 0
    bytes: int = 0


@dataclass
class Scope:
    """Where and of what something may be missing; LAST is the number of the last blob seen."""

    locations: list[str]
    namespace: str | None
    until: int | None
    last: int = 0


@dataclass
class Estimate:
    """How long the rest takes, judged by what was copied since the first look."""

    clock: Callable[[], float] = time.monotonic
    began: float = field(init=False)
    first: int | None = None

    def __post_init__(self) -> None:
        self.began = self.clock()

    def seconds_left(self, missing_bytes: int) -> float | None:
        """Return the seconds, or None as long as nothing was copied."""
        if self.first is None:
            self.first = missing_bytes
        copied, elapsed = self.first - missing_bytes, self.clock() - self.began
        return missing_bytes / (copied / elapsed) if copied > 0 and elapsed > 0 else None


def backfill(options: argparse.Namespace) -> int:
    """Queue what is missing; 0 if nothing is (any more), FAILED else."""
    graph = wire_services(load_bundle_to_administer())
    wanted = _wanted(graph, options.location)
    scope = Scope(wanted, options.namespace, options.until)
    missing = _look(graph, scope, queue=not options.dry_run)
    if options.wait and not options.dry_run:
        missing = _wait(graph, scope, missing)
    complete = not any(entry.blobs for entry in missing.values())
    if options.json:
        report = {
            "complete": complete,
            "last": scope.last,
            "locations": {
                name: {"missing_blobs": entry.blobs, "missing_bytes": entry.bytes}
                for name, entry in missing.items()
            },
        }
        sys.stdout.write(json.dumps(report) + "\n")
    elif complete:
        say(f"nothing is missing at {', '.join(wanted)}")
    else:
        queued = "missing" if options.dry_run else "queued; wait with `atoll backfill --wait`"
        say(f"{_told(missing)}: {queued}")
    return 0 if complete else exit_codes.FAILED


def _wanted(graph: Services, names: list[str] | None) -> list[str]:
    require_replication(graph.bundle)
    required = targets(graph.database, graph.bundle.required_locations)
    for name in names or ():
        if name not in required:
            raise UserError(
                f"'{name}' is no location where blobs must be; those are {', '.join(required)}"
            )
    return names or required


def _look(graph: Services, scope: Scope, *, queue: bool) -> dict[str, Missing]:
    """Go through all blobs once, with a bar for whoever looks on."""
    missing = {name: Missing() for name in scope.locations}
    columns = (
        TextColumn("looking at blobs"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not queue) as progress:
        bar = progress.add_task("", total=None)
        required = graph.bundle.required_locations
        steps = domain.backfill(
            graph.database,
            required,
            wanted=scope.locations,
            namespace=scope.namespace,
            until=scope.until,
            queue=queue,
        )
        for step in steps:
            scope.last = step.last
            progress.update(bar, total=step.last, completed=step.done)
            for found in step.found:
                missing[found.location].blobs += found.blobs
                missing[found.location].bytes += found.bytes
    return missing


def _wait(graph: Services, scope: Scope, missing: dict[str, Missing]) -> dict[str, Missing]:
    """Look again and again until nothing is missing, and tell how it goes when it changes."""
    estimate, told = Estimate(), ""
    while any(entry.blobs for entry in missing.values()):
        left = estimate.seconds_left(sum(entry.bytes for entry in missing.values()))
        line = _told(missing)
        if line != told:
            say(line if left is None else f"{line}; about {left:.0f} s left")
            told = line
        missing = look_later(lambda: _look(graph, scope, queue=False))
    return missing


def _told(missing: dict[str, Missing]) -> str:
    return "; ".join(
        f"{name} lacks {entry.blobs} blobs ({entry.bytes} bytes)"
        for name, entry in missing.items()
        if entry.blobs
    )
