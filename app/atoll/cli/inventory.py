"""`atoll inventory`: compare what a store holds with what the database says of it.

What is placed and not there is reported, and healed, as `atoll verify` does, with the same exit
statuses; FAILED also if there are orphans that were not deleted.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from itertools import islice

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn
from rich.table import Table

from atoll import exit_codes
from atoll.cli.run import say
from atoll.cli.verify import findings_as_json, heal, print_findings, status_of
from atoll.config.model import parse_duration
from atoll.errors import UserError
from atoll.placement.checks.inventory import (
    Entry,
    Inventory,
    Orphan,
    Recent,
    Stranger,
    Waiting,
    delete_orphan,
    now,
)
from atoll.placement.checks.verify import Looked, Run, Scope, Verifier, begin, record
from atoll.placement.locations.states import LocationTable, require_known
from atoll.server.bundle import load_bundle_for_stores
from atoll.server.container import wire_services
from atoll.services import Services
from atoll.storage.errors import StoreUnavailable
from atoll.storage.interface import ObjectStore
from atoll.storage.marker import require_own
from atoll.storage.read_limit import ReadLimit
from atoll.storage.states import REMOVED

# Entries that are recorded together.
_BATCH = 1000
_SHOWN, _SHOWN_JSON = 50, 10_000


@dataclass
class Objects:
    """What was counted: objects and bytes without a row, and other objects that are no blobs'."""

    orphans: int = 0
    orphan_bytes: int = 0
    deleted: int = 0
    too_young: int = 0
    strangers: int = 0
    waiting_for_deletion: int = 0
    shown: list[str] = field(default_factory=list)


def inventory(options: argparse.Namespace) -> int:
    """Compare, delete orphans if asked to, report, and heal if asked to."""
    graph = wire_services(load_bundle_for_stores())
    database = graph.patient_database
    store = _store(graph, options.location, delete=options.delete_orphans)
    age = _age(graph, options.older_than)
    run = begin(database, Scope(location=store.location, inventory=True))
    entries = Inventory(database, store, now() - age).entries()
    try:
        # Another location's objects would all be orphans.
        require_own(store)
    except StoreUnavailable as error:
        say(str(error))
        return exit_codes.UNAVAILABLE
    prober = graph.locations.start_probing(graph.thread_registry)
    try:
        objects = _compare(graph, run, store, entries, delete=options.delete_orphans)
    except StoreUnavailable as error:
        say(f"{error}; nothing is known of what was not compared yet")
        return exit_codes.UNAVAILABLE
    finally:
        prober.stop()
    healed = heal(graph, run) if options.heal else None
    _print(graph, run, objects, healed, as_json=options.json)
    return status_of(database, run) or (
        exit_codes.FAILED if objects.orphans > objects.deleted else 0
    )


def _compare(
    graph: Services,
    run: Run,
    store: ObjectStore,
    entries: Iterator[tuple[Entry, bool]],
    *,
    delete: bool,
) -> Objects:
    """Go through the entries, with a count for whoever looks on. Raises StoreUnavailable."""
    verifier = Verifier(
        graph.patient_database, graph.locations.stores, graph.locations.health, ReadLimit(None)
    )
    objects = Objects()
    columns = (SpinnerColumn(), TextColumn("{task.completed} entries"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("", total=None)
        while batch := list(islice(entries, _BATCH)):
            orphans = [entry for entry, _ in batch if isinstance(entry, Orphan)]
            _count(objects, batch, orphans)
            _record(graph, verifier, run, batch)
            if delete:
                objects.deleted += sum(
                    delete_orphan(orphan, store, graph.content) for orphan in orphans
                )
            progress.advance(bar, len(batch))
    return objects


def _store(graph: Services, location: str, *, delete: bool) -> ObjectStore:
    """Return the store to compare; raise UserError where that, or to DELETE, is impossible."""
    states = LocationTable(graph.database).states()
    require_known(location, states)
    if delete and states[location] == REMOVED:
        raise UserError(
            f"'{location}' is being removed, and nothing is deleted there as long as that can be"
            f" undone: finish it (atoll remove-location {location}), or undo it with --undo"
        )
    if location not in graph.locations.stores:
        raise UserError(
            f"'{location}' is not in this site's DISTRIBUTED_STORAGE_CONFIG, so its store cannot be"
            " asked from here"
        )
    return graph.locations.stores[location]


def _age(graph: Services, text: str | None) -> timedelta:
    """Return how old an object without a row must be; as old as an upload may get, if not said."""
    if text is None:
        return timedelta(minutes=graph.bundle.blobupload_deletion_date_threshold)
    try:
        return timedelta(seconds=parse_duration(text))
    except ValueError as error:
        raise UserError(f"--older-than {error}") from error


def _count(objects: Objects, batch: list[tuple[Entry, bool]], orphans: list[Orphan]) -> None:
    """Count what is in a batch, and its ORPHANS."""
    objects.orphans += len(orphans)
    objects.orphan_bytes += sum(orphan.size for orphan in orphans)
    objects.shown += [orphan.key for orphan in orphans][: _SHOWN_JSON - len(objects.shown)]
    for entry, _ in batch:
        objects.too_young += isinstance(entry, Recent)
        objects.strangers += isinstance(entry, Stranger)
        objects.waiting_for_deletion += isinstance(entry, Waiting)


def _record(graph: Services, verifier: Verifier, run: Run, batch: list[tuple[Entry, bool]]) -> None:
    """Record the placements of a batch, after a look at those that are not as they should be."""
    looked = [
        entry if right else verifier.look(entry, full=False)
        for entry, right in batch
        if isinstance(entry, Looked)
    ]
    record(graph.patient_database, run, looked)


def _print(
    graph: Services, run: Run, objects: Objects, healed: int | None, *, as_json: bool
) -> None:
    database = graph.patient_database
    location = str(run.scope.location)
    if as_json:
        document = {
            "location": location,
            "objects": asdict(objects),
            **findings_as_json(database, run, healed),
        }
        sys.stdout.write(json.dumps(document) + "\n")
        return
    table = Table("without a row", "bytes", "deleted", "too young", "waiting", "others'")
    table.add_row(
        str(objects.orphans),
        str(objects.orphan_bytes),
        str(objects.deleted),
        str(objects.too_young),
        str(objects.waiting_for_deletion),
        str(objects.strangers),
    )
    Console().print(table)
    for key in objects.shown[:_SHOWN]:
        say(f"without a row: {key}")
    print_findings(database, run, healed, f"atoll inventory {location} --heal")
    if objects.orphans > objects.deleted:
        say(f"delete them with: atoll inventory {location} --delete-orphans")
