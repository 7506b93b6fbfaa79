"""`atoll inventory`: compare the objects in a store with the database."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from itertools import islice

import click

from atoll import exit_codes
from atoll.cli.commands import Command
from atoll.cli.context import CommandContext
from atoll.cli.options import duration_option, json_option
from atoll.cli.output import note, print_json, print_result, print_table, progress, size_text
from atoll.cli.verify import exit_code_of, findings_as_json, heal, print_findings
from atoll.db.pool import Database
from atoll.errors import UserError
from atoll.placement.checks.inventory import (
    Entry,
    Inventory,
    Orphan,
    PendingDeletion,
    RecentObject,
    UnknownObject,
    delete_orphan,
    now,
)
from atoll.placement.checks.verify import PlacementCheck, Run, Scope, Verifier, begin, record
from atoll.placement.locations.states import LocationTable, require_known
from atoll.rate_limit import RateLimiter
from atoll.services import Services
from atoll.storage.base import ObjectStore
from atoll.storage.errors import StoreUnavailable
from atoll.storage.location_marker import require_own
from atoll.storage.states import REMOVED

# Entries that are recorded in one transaction.
_BATCH = 1000
_SHOWN, _SHOWN_JSON = 50, 10_000


@dataclass
class Objects:
    """The objects of a store that are not placements: the number of each kind.

    Attributes:
        orphans: objects at a content address without a row.
        orphan_bytes: their bytes.
        deleted: the orphans that were deleted.
        too_young: objects without a row that an upload or a copy may still need.
        strangers: objects that are not at a content address.
        waiting_for_deletion: objects in the delete queue.
        shown: the keys of the first orphans.
    """

    orphans: int = 0
    orphan_bytes: int = 0
    deleted: int = 0
    too_young: int = 0
    strangers: int = 0
    waiting_for_deletion: int = 0
    shown: list[str] = field(default_factory=list)


@click.command(
    cls=Command,
    exit_codes={
        0: "Objects and rows match.",
        1: "There are orphans or missing copies; every blob has a good copy.",
        65: "Blobs have no good copy left.",
        69: "A store was unavailable.",
    },
    examples=["atoll inventory us", "atoll inventory us --older-than 2d --delete-orphans"],
)
@click.argument("location")
@click.option(
    "--older-than",
    metavar="AGE",
    help="Count an object without a row as an orphan from this age, such as 2d. Default: the age"
    " at which an unfinished upload is discarded.",
)
@click.option("--delete-orphans", is_flag=True, help="Delete the orphans.")
@click.option(
    "--heal", "heals", is_flag=True, help="Quarantine copies without an object and replace them."
)
@json_option
@click.pass_obj
def inventory(
    context: CommandContext,
    *,
    location: str,
    older_than: str | None,
    delete_orphans: bool,
    heals: bool,
    as_json: bool,
) -> int:
    """Find orphaned objects in the store of LOCATION.

    Compares all objects of the store with the database, in both directions: objects without a row
    are orphans, and copies without an object are missing.
    """
    services = context.services_with_stores()
    database = services.batch_database
    store = _store(services, location, delete=delete_orphans)
    age = _age(services, older_than)
    run = begin(database, Scope(location=store.location, inventory=True))
    entries = Inventory(database, store, now() - age).entries()
    try:
        # All objects of another location would be orphans.
        require_own(store)
    except StoreUnavailable as error:
        note(str(error))
        return exit_codes.UNAVAILABLE
    prober = services.locations.start_probing(services.thread_registry)
    try:
        objects = _compare(services, run, store, entries, delete=delete_orphans)
    except StoreUnavailable as error:
        note(f"{error}; the rest of the store was not compared")
        return exit_codes.UNAVAILABLE
    finally:
        prober.stop()
    healed = heal(services, run) if heals else None
    _print(database, run, objects, healed, as_json=as_json)
    kept = objects.orphans > objects.deleted
    return exit_code_of(database, run) or (exit_codes.FAILED if kept else 0)


def _compare(
    services: Services,
    run: Run,
    store: ObjectStore,
    entries: Iterator[tuple[Entry, bool]],
    *,
    delete: bool,
) -> Objects:
    """Compare all entries with the database.

    Raises:
        StoreUnavailable: the store stopped answering.
    """
    verifier = Verifier(
        services.batch_database,
        services.locations.stores,
        services.locations.health,
        RateLimiter(None),
    )
    objects, done = Objects(), 0
    with progress("comparing objects") as advance:
        while batch := list(islice(entries, _BATCH)):
            orphans = [entry for entry, _ in batch if isinstance(entry, Orphan)]
            _count(objects, batch, orphans)
            _record(services, verifier, run, batch)
            if delete:
                objects.deleted += sum(
                    delete_orphan(orphan, store, services.content) for orphan in orphans
                )
            done += len(batch)
            advance(done, None)
    return objects


def _store(services: Services, location: str, *, delete: bool) -> ObjectStore:
    """Return the store to compare.

    Raises:
        UserError: the location is unknown here, or nothing may be deleted there.
    """
    states = LocationTable(services.database).states()
    require_known(location, states)
    if delete and states[location] == REMOVED:
        raise UserError(
            f"'{location}' is being removed, and nothing is deleted there as long as that can be"
            f" undone: finish it (atoll remove-location {location}), or undo it with --undo"
        )
    if location not in services.locations.stores:
        raise UserError(
            f"'{location}' is not in this site's DISTRIBUTED_STORAGE_CONFIG, so its store cannot be"
            " asked from here"
        )
    return services.locations.stores[location]


def _age(services: Services, text: str | None) -> timedelta:
    """Return the age of an orphan: that of an expired upload unless TEXT gives another one."""
    seconds = duration_option("--older-than", text)
    if seconds is None:
        return timedelta(minutes=services.bundle.blobupload_deletion_date_threshold)
    return timedelta(seconds=seconds)


def _count(objects: Objects, batch: list[tuple[Entry, bool]], orphans: list[Orphan]) -> None:
    """Count the entries of a batch."""
    objects.orphans += len(orphans)
    objects.orphan_bytes += sum(orphan.size for orphan in orphans)
    objects.shown += [orphan.key for orphan in orphans][: _SHOWN_JSON - len(objects.shown)]
    for entry, _ in batch:
        objects.too_young += isinstance(entry, RecentObject)
        objects.strangers += isinstance(entry, UnknownObject)
        objects.waiting_for_deletion += isinstance(entry, PendingDeletion)


def _record(
    services: Services, verifier: Verifier, run: Run, batch: list[tuple[Entry, bool]]
) -> None:
    """Record the placements of a batch, after those that differ were verified one by one."""
    checks = [
        entry if right else verifier.check(entry, full=False)
        for entry, right in batch
        if isinstance(entry, PlacementCheck)
    ]
    record(services.batch_database, run, checks)


def _print(
    database: Database, run: Run, objects: Objects, healed: int | None, *, as_json: bool
) -> None:
    location = str(run.scope.location)
    if as_json:
        print_json(
            {
                "location": location,
                "objects": asdict(objects),
                **findings_as_json(database, run, healed),
            }
        )
        return
    print_table(
        ["orphans", "size", "deleted", "too young", "to delete", "other objects"],
        [
            [
                objects.orphans,
                size_text(objects.orphan_bytes),
                objects.deleted,
                objects.too_young,
                objects.waiting_for_deletion,
                objects.strangers,
            ]
        ],
    )
    for key in objects.shown[:_SHOWN]:
        print_result(f"orphan: {key}")
    print_result("")
    print_findings(database, run, healed, f"atoll inventory {location} --heal")
    if objects.orphans > objects.deleted:
        print_result(f"delete the orphans with: atoll inventory {location} --delete-orphans")
