"""`atoll purge-store`: delete all objects of a removed location from its store."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn

from atoll import exit_codes
from atoll.cli.run import say
from atoll.config.check import check
from atoll.config.load import ConfigError, read
from atoll.config.model import Bundle
from atoll.errors import UserError
from atoll.placement.locations.purge import PurgeReport, StorePurge
from atoll.server.bundle import load_bundle_for_stores
from atoll.server.container import wire_services
from atoll.storage.base import ObjectStore
from atoll.storage.errors import StoreUnavailable


def purge_store(options: argparse.Namespace) -> int:
    """Delete all objects in the store of a removed location, or only count them."""
    purge = wire_services(load_bundle_for_stores()).store_purge
    location: str = options.location
    stores = _bundle(options.config).stores
    if location not in stores:
        raise UserError(
            f"'{location}' is not in the DISTRIBUTED_STORAGE_CONFIG of {options.config}; give a"
            " config.yaml that still knows its store"
        )
    try:
        store = purge.open(location, stores)
        report = purge.count(store) if options.dry_run else _delete(purge, store, options)
    except StoreUnavailable as error:
        say(f"{error}; when it answers again, the same command resumes")
        return exit_codes.UNAVAILABLE
    if options.json:
        sys.stdout.write(json.dumps(asdict(report)) + "\n")
    else:
        did = "deleted" if report.deleted else "there"
        say(f"{location}: {report.objects} objects ({report.bytes} bytes) {did}")
    return 0


def _bundle(name: str) -> Bundle:
    """Return the bundle in a file, or on standard input for `-`. Raises UserError."""
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text("utf-8")
        found = check(read(text, name))
    except ConfigError as error:
        raise UserError(str(error)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{name} cannot be read: {error}") from error
    if found.bundle is None:
        raise UserError("\n".join(f"{name}: {problem}" for problem in found.problems))
    return found.bundle


def _delete(purge: StorePurge, store: ObjectStore, options: argparse.Namespace) -> PurgeReport:
    """Delete the objects, once confirmed, with a counter on standard error."""
    purge.require_removed(store.location)
    _require_confirmation(store.location, yes=options.yes)
    report = PurgeReport(store.location)
    columns = (SpinnerColumn(), TextColumn("{task.completed} objects deleted"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("", total=None)
        for report in purge.delete(store, options.limit):
            progress.update(bar, completed=report.objects)
    return report


def _require_confirmation(location: str, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise UserError("standard input is not a terminal: confirm with --yes")
    say(f"Type {location} to delete all its objects for good:")
    if sys.stdin.readline().strip() != location:
        raise UserError("nothing was deleted")
