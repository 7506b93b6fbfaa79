"""`atoll purge-store`: delete all objects of a location that is gone from its store."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn

from atoll import exit_codes
from atoll.cli.run import CommandFailed, say
from atoll.cluster.instances import instances
from atoll.config.check import check
from atoll.config.load import ConfigError, read
from atoll.config.model import Bundle
from atoll.placement.locations.drain import location_states
from atoll.server.bundle import load_bundle_for_stores
from atoll.server.container import wire_services
from atoll.services import Services
from atoll.storage.base import ObjectStore
from atoll.storage.drivers import make_store
from atoll.storage.errors import StoreOfOtherLocation, StoreUnavailable
from atoll.storage.location_marker import require_own
from atoll.storage.purge import (
    PlaceShared,
    abort_all_uploads,
    count_objects,
    delete_objects,
    require_own_place,
)


@dataclass
class Purge:
    """What was found or deleted; COMPLETE if nothing is left, as far as it was looked."""

    location: str
    objects: int = 0
    bytes: int = 0
    uploads: int = 0
    deleted: bool = False
    complete: bool = True


def purge_store(options: argparse.Namespace) -> int:
    """Delete what is in the store of a location that is gone, or only count it."""
    graph = wire_services(load_bundle_for_stores())
    location: str = options.location
    knowing = _bundle(options.config)
    if location not in knowing.stores:
        raise CommandFailed(
            f"'{location}' is not in the DISTRIBUTED_STORAGE_CONFIG of {options.config}; give a"
            " config.yaml that still knows its store"
        )
    others = {**knowing.stores, **graph.bundle.stores}
    others.pop(location)
    try:
        require_own_place(location, knowing.stores[location], others)
    except PlaceShared as error:
        raise CommandFailed(f"{error}; nothing was deleted") from error
    store = make_store(location, knowing.stores[location], ca_bundle=graph.ca_bundle)
    try:
        require_own(store)
        done = _count(store) if options.dry_run else _purge(graph, store, options)
    except StoreOfOtherLocation as error:
        raise CommandFailed(f"{error}; nothing was deleted") from error
    except StoreUnavailable as error:
        say(f"{error}; when it answers again, the same command goes on")
        return exit_codes.UNAVAILABLE
    if options.json:
        sys.stdout.write(json.dumps(asdict(done)) + "\n")
    else:
        did = "deleted" if done.deleted else "there"
        say(f"{location}: {done.objects} objects ({done.bytes} bytes) {did}")
    return 0


def _bundle(name: str) -> Bundle:
    """Return the bundle in the file NAME, or on standard input. Raises CommandFailed."""
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text("utf-8")
        found = check(read(text, name))
    except ConfigError as error:
        raise CommandFailed(str(error)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise CommandFailed(f"{name} cannot be read: {error}") from error
    if found.bundle is None:
        raise CommandFailed("\n".join(f"{name}: {problem}" for problem in found.problems))
    return found.bundle


def _count(store: ObjectStore) -> Purge:
    objects, size = count_objects(store)
    return Purge(store.location, objects, size)


def _purge(graph: Services, store: ObjectStore, options: argparse.Namespace) -> Purge:
    """Delete, with a count for whoever looks on. Raises StoreUnavailable."""
    _require_gone(graph, store.location)
    _require_yes(store.location, yes=options.yes)
    done = Purge(store.location, deleted=True)
    columns = (SpinnerColumn(), TextColumn("{task.completed} objects deleted"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("", total=None)
        for batch in delete_objects(store, options.limit):
            done.objects += len(batch)
            done.bytes += sum(stored.size for stored in batch)
            progress.advance(bar, len(batch))
    done.complete = options.limit is None or done.objects < options.limit
    if done.complete:
        done.uploads = abort_all_uploads(store)
    return done


def _require_gone(graph: Services, location: str) -> None:
    """Raise CommandFailed as long as anybody may still write to the location."""
    if location in location_states(graph.database):
        raise CommandFailed(
            f"'{location}' is still a location of the registry; first: atoll remove-location"
            f" {location}"
        )
    using = [
        f"{one.role} on {one.hostname}"
        for one in instances(graph.database)
        if not one.lost and location in one.stores
    ]
    if location in graph.bundle.stores or using:
        raise CommandFailed(
            f"'{location}' is still in the bundle of {', '.join(using) or 'this site'}, which would"
            " use it again: take its entry out of DISTRIBUTED_STORAGE_CONFIG at every site first."
            " Who was killed is believed to run for a minute and a half"
        )


def _require_yes(location: str, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise CommandFailed("there is nobody to ask; confirm with --yes")
    say(f"Type {location} to delete all its objects for good:")
    if sys.stdin.readline().strip() != location:
        raise CommandFailed("nothing was deleted")
