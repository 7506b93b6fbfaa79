"""`atoll backfill`: queue missing copies."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import click

from atoll import exit_codes
from atoll.cli.commands import Command
from atoll.cli.context import CommandContext
from atoll.cli.options import json_option
from atoll.cli.output import note, print_json, print_result, progress
from atoll.cli.polling import poll
from atoll.placement.upkeep import backfill as domain
from atoll.placement.upkeep.bounded_backfill import required_targets
from atoll.server.bundle import require_replication
from atoll.services import Services


@dataclass
class Missing:
    """The missing copies of one location."""

    blobs: int = 0
    bytes: int = 0


@dataclass
class Scope:
    """The locations and blobs to search.

    Attributes:
        locations: where copies may be missing.
        namespace: only blobs of this namespace's images.
        until: only blobs up to this number.
        last: the number of the last blob that was searched.
    """

    locations: list[str]
    namespace: str | None
    until: int | None
    last: int = 0


@dataclass
class Estimate:
    """The time that the remaining copies take, judged by those since the start."""

    clock: Callable[[], float] = time.monotonic
    began: float = field(init=False)
    first: int | None = None

    def __post_init__(self) -> None:
        self.began = self.clock()

    def seconds_left(self, missing_bytes: int) -> float | None:
        """Return the seconds, or None until the first copy is done."""
        if self.first is None:
            self.first = missing_bytes
        copied, elapsed = self.first - missing_bytes, self.clock() - self.began
        return missing_bytes / (copied / elapsed) if copied > 0 and elapsed > 0 else None


@click.command(
    cls=Command,
    exit_codes={
        0: "No copies are missing, with --wait after waiting.",
        1: "Copies are missing; without --dry-run they were queued.",
    },
    examples=["atoll backfill --dry-run", "atoll backfill --location eustorage --wait"],
)
@click.option(
    "--location",
    "locations",
    multiple=True,
    metavar="NAME",
    help="Search this location only; repeatable. Default: all required locations.",
)
@click.option("--namespace", metavar="NAME", help="Search blobs of this namespace only.")
@click.option("--dry-run", is_flag=True, help="Only count the missing copies.")
@click.option(
    "--until",
    type=int,
    metavar="NUMBER",
    help="Ignore blobs newer than this: 'last' in the JSON of an earlier run.",
)
@click.option("--wait", is_flag=True, help="Wait until all required copies exist.")
@json_option
@click.pass_obj
def backfill(
    context: CommandContext,
    *,
    locations: tuple[str, ...],
    namespace: str | None,
    dry_run: bool,
    until: int | None,
    wait: bool,
    as_json: bool,
) -> int:
    """Queue missing copies for replication."""
    services = context.services()
    wanted = _wanted(services, list(locations))
    scope = Scope(wanted, namespace, until)
    missing = _search(services, scope, queue=not dry_run)
    if wait and not dry_run:
        missing = _wait(services, scope, missing)
    complete = not any(entry.blobs for entry in missing.values())
    if as_json:
        print_json(
            {
                "complete": complete,
                "last": scope.last,
                "locations": {
                    name: {"missing_blobs": entry.blobs, "missing_bytes": entry.bytes}
                    for name, entry in missing.items()
                },
            }
        )
    elif complete:
        print_result(f"no copies are missing at {', '.join(wanted)}")
    else:
        queued = "missing" if dry_run else "queued; wait with `atoll backfill --wait`"
        print_result(f"{_describe(missing)}: {queued}")
    return 0 if complete else exit_codes.FAILED


def _wanted(services: Services, names: list[str]) -> list[str]:
    require_replication(services.bundle)
    return required_targets(services.database, services.bundle.required_locations, names)


def _search(services: Services, scope: Scope, *, queue: bool) -> dict[str, Missing]:
    """Search all blobs once for missing copies, and queue these if QUEUE is set."""
    missing = {name: Missing() for name in scope.locations}
    steps = domain.backfill(
        services.database,
        services.bundle.required_locations,
        wanted=scope.locations,
        namespace=scope.namespace,
        until=scope.until,
        queue=queue,
    )
    with progress("searching blobs", show=queue) as advance:
        for step in steps:
            scope.last = step.last
            advance(step.done, step.last)
            for found in step.found:
                missing[found.location].blobs += found.blobs
                missing[found.location].bytes += found.bytes
    return missing


def _wait(services: Services, scope: Scope, missing: dict[str, Missing]) -> dict[str, Missing]:
    """Poll until no copy is missing, and note each change with the remaining time."""
    estimate, noted = Estimate(), ""
    while any(entry.blobs for entry in missing.values()):
        left = estimate.seconds_left(sum(entry.bytes for entry in missing.values()))
        line = _describe(missing)
        if line != noted:
            note(line if left is None else f"{line}; about {left:.0f} s left")
            noted = line
        missing = poll(lambda: _search(services, scope, queue=False))
    return missing


def _describe(missing: dict[str, Missing]) -> str:
    return "; ".join(
        f"{name} lacks {entry.blobs} blobs ({entry.bytes} bytes)"
        for name, entry in missing.items()
        if entry.blobs
    )
