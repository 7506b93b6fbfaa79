"""`atoll remove-location`; `python -m util.removelocation` shares its question and checks."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from rich.console import Console
from rich.progress import Progress, track
from rich.table import Table

from atoll.cli.loss import remove_lost
from atoll.cli.run import CommandFailed, say
from atoll.cluster.instances import Instances
from atoll.config.model import parse_duration
from atoll.db.pool import Database
from atoll.placement.checks.verify import Looked, Verifier
from atoll.placement.locations import remove as domain
from atoll.placement.locations.drain import (
    LocationNeeded,
    LocationUnknown,
    SoleCopies,
    Trust,
    location_states,
    only_there,
)
from atoll.placement.survivors import check_survivors
from atoll.server.bundle import load_bundle_for_stores, load_bundle_to_administer
from atoll.server.container import wire_services
from atoll.services import Services
from atoll.storage.read_limit import ReadLimit

# As Quay asks, and the answers that it accepts.
QUESTION = (
    "WARNING: This is a destructive operation. Are you sure you want to remove {location}"
    " from your storage locations? [y/n] "
)
_ANSWERS = {"y": True, "ye": True, "yes": True, "n": False, "no": False}
_SHOWN = 20


def remove_location(options: argparse.Namespace) -> int:
    """Remove a location, only check whether that is possible, or undo a removal."""
    if wrong := _misuse(options):
        raise CommandFailed(wrong)
    if options.check_objects:
        graph = wire_services(load_bundle_for_stores())
    else:
        graph = wire_services(load_bundle_to_administer())
    database = graph.patient_database
    location: str = options.location
    if options.lost and not options.undo:
        return remove_lost(graph, options)
    try:
        if options.undo:
            domain.undo_removal(database, location)
            say(f"{location} is back; look at it with `atoll locations`")
            return 0
        trust = _trust(graph, options)
        placements = domain.check_removal(database, location, trust)
        if options.check_objects:
            _check_objects(graph, location)
        if options.dry_run:
            say(f"{location} can go: its {placements} blobs are all elsewhere, too")
            return 0
        if not options.yes and not _agreed(location):
            say("nothing was changed")
            return 0
        _remove(database, location, placements, trust)
    except (LocationUnknown, LocationNeeded) as error:
        show_only_there(database, location, error)
        raise CommandFailed(str(error)) from error
    say(
        f"{location} is removed. Its objects are still in its store; take its entry out of"
        " DISTRIBUTED_STORAGE_CONFIG at every site."
    )
    return 0


def unreadable_others(database: Database, location: str) -> tuple[str, ...]:
    """Return the locations besides LOCATION that no running instance can read from."""
    others = [name for name in location_states(database) if name != location]
    return Instances(database).unreachable(others)


def show_only_there(database: Database, location: str, error: Exception) -> None:
    """List sole copies at a location on standard error, if ERROR says that they keep it."""
    rows = only_there(database, location, _SHOWN) if isinstance(error, SoleCopies) else []
    if not rows:
        return
    table = Table("only there", "bytes", "needed by", title=f"the first {len(rows)}")
    for row in rows:
        table.add_row(row.digest, str(row.size), "\n".join(row.images))
    Console(stderr=True).print(table)


def ask(question: str, again: Callable[[], None]) -> bool:
    """Ask on standard output until the answer is yes or no. The end of the input means no."""
    while True:
        sys.stdout.write(question)
        sys.stdout.flush()
        line = sys.stdin.readline()
        if not line:
            return False
        answer = _ANSWERS.get(line.strip().lower())
        if answer is not None:
            return answer
        again()


def _misuse(options: argparse.Namespace) -> str:
    """Return a sentence if options do not go together."""
    checks = options.verified_since or options.check_objects or options.yes_unverified
    if options.lost and checks:
        return "--verified-since, --check-objects and --yes-unverified do not go with --lost"
    if not options.lost and (options.json or options.accept_loss is not None):
        return "--json and --accept-loss go with --lost"
    return ""


def _trust(graph: Services, options: argparse.Namespace) -> Trust:
    """Return which copies elsewhere count."""
    within = None
    if options.verified_since is not None:
        try:
            within = parse_duration(options.verified_since)
        except ValueError as error:
            raise CommandFailed(f"--verified-since {error}") from error
    if options.yes_unverified:
        return Trust(verified_within=within)
    return Trust(unreadable_others(graph.database, options.location), within)


def _check_objects(graph: Services, location: str) -> None:
    """Raise CommandFailed unless each copy that would remain alone is in its store."""
    stores, health = graph.locations.stores, graph.locations.health
    verifier = Verifier(graph.patient_database, stores, health, ReadLimit(None))
    checked, bad = 0, []
    prober = graph.locations.start_probing()
    try:
        with Progress(console=Console(stderr=True), transient=True) as progress:
            bar = progress.add_task("checking the copies that remain", total=None)
            for step in check_survivors(graph.patient_database, verifier, location):
                checked += len(step.copies)
                bad += step.bad
                progress.update(bar, total=step.last, completed=step.done)
    finally:
        prober.stop()
    if bad:
        _show_bad(bad[:_SHOWN])
        raise CommandFailed(
            f"{len(bad)} of {checked} copies that would remain alone are wrong, or could not be"
            f" checked from here; nothing was changed: atoll verify --heal, then drain {location}"
            " again"
        )
    say(f"{checked} copies that would remain alone are in their stores")


def _show_bad(bad: list[Looked]) -> None:
    table = Table("location", "blob", "bytes", "what is wrong", title=f"the first {len(bad)}")
    for one in bad:
        problem = one.result or one.unreachable
        table.add_row(one.location, str(one.digest), str(one.size), problem)
    Console(stderr=True).print(table)


def _agreed(location: str) -> bool:
    if not sys.stdin.isatty():
        raise CommandFailed("there is nobody to ask; confirm with --yes")
    return ask(QUESTION.format(location=location), lambda: say("Please answer y or n."))


def _remove(database: Database, location: str, placements: int, trust: Trust) -> None:
    steps = domain.remove_location(database, location, trust=trust)
    total = placements // domain.BATCH + 2
    for _ in track(steps, "removing", total=total, console=Console(stderr=True), transient=True):
        continue
