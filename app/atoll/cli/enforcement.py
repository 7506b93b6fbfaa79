"""`atoll policy enforce`: take copies away from where policies exclude them."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter

from rich.console import Console
from rich.progress import Progress

from atoll import exit_codes
from atoll.cli.polling import look_later
from atoll.cli.run import CommandFailed, say
from atoll.placement.upkeep.over_replication import OverReplication, Step
from atoll.server.bundle import load_bundle_to_administer
from atoll.server.container import wire_services
from atoll.server.maintenance import excess_of
from atoll.services import Services


def enforce(options: argparse.Namespace) -> int:
    """Do at once what the workers do in the background; 0 if nothing in excess is left."""
    graph = wire_services(load_bundle_to_administer())
    if not options.dry_run:
        _require_carried_out(graph)
    found = _go_through(excess_of(graph), remove=not options.dry_run)
    if not options.dry_run and found.removed:
        _tell_cache(graph)
    left = found.waiting + found.removed if options.dry_run else found.waiting
    if options.json:
        locations = sorted({*found.removed, *found.waiting})
        report = {
            "dry_run": options.dry_run,
            "complete": not left,
            "locations": {
                name: {
                    "removed_blobs": found.removed[name],
                    "removed_bytes": found.removed_bytes[name],
                    "waiting_blobs": found.waiting[name],
                    "waiting_bytes": found.waiting_bytes[name],
                }
                for name in locations
            },
        }
        sys.stdout.write(json.dumps(report) + "\n")
    else:
        _tell(found, dry_run=options.dry_run)
    return exit_codes.FAILED if left else 0


def _require_carried_out(graph: Services) -> None:
    """Raise CommandFailed where what is taken away would stay, or clients be sent there."""
    if graph.bundle.read_only or not graph.bundle.feature_garbage_collection:
        raise CommandFailed(
            "nothing is deleted from stores with FEATURE_GARBAGE_COLLECTION: false or"
            " REGISTRY_STATE: readonly"
        )
    if not graph.redis.ping():
        raise CommandFailed(
            "Redis cannot be reached, and where copies are is cached there; try again when it is"
            " back, or let the workers do it"
        )


def _go_through(excess: OverReplication, *, remove: bool) -> Step:
    total = Step(0, 0)
    console = Console(stderr=True)
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("looking at blobs", total=None)
        for step in excess.everything(remove=remove):
            progress.update(bar, total=step.last, completed=step.done)
            total.removed += step.removed
            total.removed_bytes += step.removed_bytes
            total.waiting += step.waiting
            total.waiting_bytes += step.waiting_bytes
    return total


def _tell_cache(graph: Services) -> None:
    """Wait until the cache has forgotten where copies were, also if Redis went away meanwhile."""
    while not (graph.redis.ping() and graph.redis.repeat_lost_deletions()):
        say("Redis does not answer; waiting until it can forget where copies were")
        look_later(lambda: None)


def _tell(found: Step, *, dry_run: bool) -> None:
    taken = "can be taken away" if dry_run else "are taken away; their objects go within minutes"
    lines = _lines(found.removed, found.removed_bytes, taken)
    lines += _lines(found.waiting, found.waiting_bytes, "wait until they are where they must be")
    sys.stdout.write("\n".join(lines or ["nothing is where policies exclude it"]) + "\n")


def _lines(copies: Counter[str], sizes: Counter[str], what: str) -> list[str]:
    return [
        f"{location}: {copies[location]} copies ({sizes[location]} bytes) {what}"
        for location in sorted(copies)
    ]
