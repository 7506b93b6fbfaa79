"""`atoll locations purge`: delete all objects of a removed location from its store."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import click

from atoll import exit_codes
from atoll.cli.commands import Command
from atoll.cli.context import CommandContext
from atoll.cli.options import json_option, yes_option
from atoll.cli.output import ask, note, print_json, print_result, progress
from atoll.config.check import check
from atoll.config.load import ConfigError, read
from atoll.config.model import Bundle
from atoll.errors import UserError
from atoll.placement.locations.purge import PurgeReport, StorePurge
from atoll.storage.base import ObjectStore
from atoll.storage.errors import StoreUnavailable


@click.command(
    cls=Command,
    exit_codes={
        0: "The objects were deleted, or with --dry-run counted.",
        1: "The deletion was refused; the message gives the reason.",
        69: "The store was unavailable; run the command again to resume.",
    },
    examples=["atoll locations purge eustorage --config old-config.yaml"],
)
@click.argument("location")
@click.option(
    "--config",
    "file",
    required=True,
    metavar="FILE",
    help="The config.yaml that contains the location; - for standard input.",
)
@click.option("--dry-run", is_flag=True, help="Only count the objects.")
@yes_option
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="OBJECTS",
    help="Stop after this number of objects; run the command again to resume.",
)
@json_option
@click.pass_obj
def purge(
    context: CommandContext,
    *,
    location: str,
    file: str,
    dry_run: bool,
    yes: bool,
    limit: int | None,
    as_json: bool,
) -> int:
    """Delete all objects of a removed location.

    The command fails while an instance may still write to the store. The bucket itself is kept.
    """
    store_purge = context.services_with_stores().store_purge
    stores = _read_bundle(file).stores
    if location not in stores:
        raise UserError(
            f"'{location}' is not in the DISTRIBUTED_STORAGE_CONFIG of {file}; use a"
            " config.yaml that contains it"
        )
    try:
        store = store_purge.open(location, stores)
        if dry_run:
            report = store_purge.count(store)
        else:
            report = _delete(store_purge, store, yes=yes, limit=limit)
    except StoreUnavailable as error:
        note(f"{error}; run the command again to resume when the store is available")
        return exit_codes.UNAVAILABLE
    if as_json:
        print_json(asdict(report))
    else:
        did = "deleted" if report.deleted else "found"
        print_result(f"{location}: {report.objects} objects ({report.bytes} bytes) {did}")
    return 0


def _read_bundle(name: str) -> Bundle:
    """Return the bundle in a file, or on standard input for `-`.

    Raises:
        UserError: it cannot be read or is invalid.
    """
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text("utf-8")
        found = check(read(text, name))
    except ConfigError as error:
        # Not this container's bundle, so the exit code is not that of an invalid one.
        raise UserError(str(error)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{name} cannot be read: {error}") from error
    if found.bundle is None:
        raise UserError("\n".join(f"{name}: {problem}" for problem in found.problems))
    return found.bundle


def _delete(
    store_purge: StorePurge, store: ObjectStore, *, yes: bool, limit: int | None
) -> PurgeReport:
    """Delete the objects, once confirmed.

    Raises:
        StoreUnavailable: the store stopped answering.
    """
    store_purge.require_removed(store.location)
    if not yes and ask(f"Type {store.location} to delete all its objects: ") != store.location:
        raise UserError("nothing was deleted")
    report = PurgeReport(store.location)
    with progress("deleting objects") as advance:
        for report in store_purge.delete(store, limit):
            advance(report.objects, None)
    return report
