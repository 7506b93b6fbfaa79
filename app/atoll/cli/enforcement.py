"""`atoll policy enforce`: delete copies where policies exclude them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import click

from atoll import exit_codes
from atoll.cli.commands import Command
from atoll.cli.context import CommandContext
from atoll.cli.options import json_option
from atoll.cli.output import note, print_json, print_result, progress
from atoll.cli.polling import poll
from atoll.errors import UserError
from atoll.placement.upkeep.over_replication import OverReplication, Step
from atoll.server.maintenance import over_replication_of
from atoll.services import Services


@click.command(
    cls=Command,
    exit_codes={
        0: "No copy is over-replicated (any longer).",
        1: "Over-replicated copies are left, because required ones are missing.",
    },
)
@click.option("--dry-run", is_flag=True, help="Only count the copies.")
@json_option
@click.pass_obj
def enforce(context: CommandContext, *, dry_run: bool, as_json: bool) -> int:
    """Delete over-replicated copies now.

    The workers do the same in the background.
    """
    services = context.services()
    if not dry_run:
        _require_deletions(services)
    found = _search(over_replication_of(services), remove=not dry_run)
    if not dry_run and found.removed:
        _wait_for_cache(services)
    left = found.waiting + found.removed if dry_run else found.waiting
    if as_json:
        print_json({"dry_run": dry_run, "complete": not left, "locations": _by_location(found)})
    else:
        _print(found, dry_run=dry_run)
    return exit_codes.FAILED if left else 0


def _require_deletions(services: Services) -> None:
    """Check that deletions take effect.

    Raises:
        UserError: the bundle disables them, or clients would be sent to deleted copies.
    """
    if services.bundle.read_only or not services.bundle.feature_garbage_collection:
        raise UserError(
            "nothing is deleted from stores with FEATURE_GARBAGE_COLLECTION: false or"
            " REGISTRY_STATE: readonly"
        )
    if not services.redis.ping():
        raise UserError(
            "Redis cannot be reached, and it caches where copies are; retry when it is available,"
            " or leave this to the workers"
        )


def _search(over_replication: OverReplication, *, remove: bool) -> Step:
    total = Step(0, 0)
    with progress("searching blobs") as advance:
        for step in over_replication.everything(remove=remove):
            advance(step.done, step.last)
            total.removed += step.removed
            total.removed_bytes += step.removed_bytes
            total.waiting += step.waiting
            total.waiting_bytes += step.waiting_bytes
    return total


def _wait_for_cache(services: Services) -> None:
    """Wait until no cached value names a deleted copy, even if Redis became unavailable."""
    while not (services.redis.ping() and services.redis.repeat_lost_deletions()):
        note("Redis is unavailable; waiting for it, to delete cached places of these copies")
        poll(lambda: None)


def _by_location(found: Step) -> dict[str, dict[str, int]]:
    return {
        name: {
            "removed_blobs": found.removed[name],
            "removed_bytes": found.removed_bytes[name],
            "waiting_blobs": found.waiting[name],
            "waiting_bytes": found.waiting_bytes[name],
        }
        for name in sorted({*found.removed, *found.waiting})
    }


def _print(found: Step, *, dry_run: bool) -> None:
    removed = "can be deleted" if dry_run else "deleted; their objects follow within minutes"
    lines = [
        *_lines(found.removed, found.removed_bytes, removed),
        *_lines(found.waiting, found.waiting_bytes, "kept until all required copies exist"),
    ]
    for line in lines or ["no copy is over-replicated"]:
        print_result(line)


def _lines(copies: Counter[str], sizes: Counter[str], what: str) -> Iterator[str]:
    for location in sorted(copies):
        yield f"{location}: {copies[location]} copies ({sizes[location]} bytes) {what}"
