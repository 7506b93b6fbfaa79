"""`atoll remove-location`; `python -m util.removelocation` uses its prompt and its table."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from rich.console import Console
from rich.progress import Progress, track
from rich.table import Table

from atoll.cli.loss import remove_lost
from atoll.cli.run import say
from atoll.config.model import parse_duration
from atoll.errors import UserError
from atoll.placement.checks.verify import Looked, Verifier
from atoll.placement.locations.errors import SoleCopiesRemain
from atoll.placement.locations.life_cycle import (
    CopyRequirements,
    LocationLifeCycle,
    SurvivorsUnverified,
)
from atoll.placement.locations.remove import BATCH
from atoll.rate_limit import RateLimiter
from atoll.server.bundle import load_bundle_for_stores, load_bundle_to_administer
from atoll.server.container import wire_services
from atoll.services import Services

# Quay's prompt, and the answers that it accepts.
QUESTION = (
    "WARNING: This is a destructive operation. Are you sure you want to remove {location}"
    " from your storage locations? [y/n] "
)
_ANSWERS = {"y": True, "ye": True, "yes": True, "n": False, "no": False}
_SHOWN = 20


def remove_location(options: argparse.Namespace) -> int:
    """Remove a location, only check whether it can be removed, or undo a removal."""
    _require_compatible(options)
    load = load_bundle_for_stores if options.check_objects else load_bundle_to_administer
    services = wire_services(load())
    life_cycle = services.location_life_cycle
    location: str = options.location
    if options.undo:
        life_cycle.undo_removal(location)
        say(f"{location} is back; look at it with `atoll locations`")
        return 0
    if options.lost:
        return remove_lost(life_cycle, options)
    requirements = _requirements(options)
    try:
        placements = life_cycle.check_removal(location, requirements)
        if options.check_objects:
            _check_objects(services, location)
        if options.dry_run:
            say(f"{location} can be removed: its {placements} blobs have other copies")
            return 0
        if not options.yes and not _confirmed(location):
            say("nothing was changed")
            return 0
        _remove(life_cycle, location, placements, requirements)
    except SoleCopiesRemain:
        show_sole_copies(life_cycle, location)
        raise
    say(
        f"{location} is removed. Its objects are still in its store; take its entry out of"
        " DISTRIBUTED_STORAGE_CONFIG at every site."
    )
    return 0


def show_sole_copies(life_cycle: LocationLifeCycle, location: str) -> None:
    """List the first sole copies of a location on standard error."""
    rows = life_cycle.sole_copies(location, _SHOWN)
    table = Table("only there", "bytes", "needed by", title=f"the first {len(rows)}")
    for row in rows:
        table.add_row(row.digest, str(row.size), "\n".join(row.images))
    Console(stderr=True).print(table)


def ask(question: str, explain: Callable[[], None]) -> bool:
    """Ask on standard output until the answer is yes or no. The end of the input means no.

    Args:
        explain: called after any other answer.
    """
    while True:
        sys.stdout.write(question)
        sys.stdout.flush()
        line = sys.stdin.readline()
        if not line:
            return False
        answer = _ANSWERS.get(line.strip().lower())
        if answer is not None:
            return answer
        explain()


def _require_compatible(options: argparse.Namespace) -> None:
    """Raise UserError if options cannot be combined."""
    checks = options.verified_since or options.check_objects or options.yes_unverified
    if options.lost and checks:
        raise UserError(
            "--verified-since, --check-objects and --yes-unverified do not go with --lost"
        )
    if not options.lost and (options.json or options.accept_loss is not None):
        raise UserError("--json and --accept-loss go with --lost")


def _requirements(options: argparse.Namespace) -> CopyRequirements:
    within = None
    if options.verified_since is not None:
        try:
            within = parse_duration(options.verified_since)
        except ValueError as error:
            raise UserError(f"--verified-since {error}") from error
    return CopyRequirements(within, count_unreachable=options.yes_unverified)


def _check_objects(services: Services, location: str) -> None:
    """Check the objects of copies that would be sole copies, with a progress bar."""
    stores, health = services.locations.stores, services.locations.health
    verifier = Verifier(services.patient_database, stores, health, RateLimiter(None))
    checked = 0
    prober = services.locations.start_probing(services.thread_registry)
    try:
        with Progress(console=Console(stderr=True), transient=True) as progress:
            bar = progress.add_task("checking the copies that remain", total=None)
            for step in services.location_life_cycle.check_survivors(location, verifier):
                checked += len(step.copies)
                progress.update(bar, total=step.last, completed=step.done)
    except SurvivorsUnverified as error:
        _show_bad(error.bad[:_SHOWN])
        raise
    finally:
        prober.stop()
    say(f"{checked} copies that would remain alone are in their stores")


def _show_bad(bad: list[Looked]) -> None:
    table = Table("location", "blob", "bytes", "what is wrong", title=f"the first {len(bad)}")
    for one in bad:
        problem = one.result or one.unreachable
        table.add_row(one.location, str(one.digest), str(one.size), problem)
    Console(stderr=True).print(table)


def _confirmed(location: str) -> bool:
    if not sys.stdin.isatty():
        raise UserError("standard input is not a terminal: confirm with --yes")
    return ask(QUESTION.format(location=location), lambda: say("Please answer y or n."))


def _remove(
    life_cycle: LocationLifeCycle, location: str, placements: int, requirements: CopyRequirements
) -> None:
    steps = life_cycle.remove(location, requirements)
    total = placements // BATCH + 2
    for _ in track(steps, "removing", total=total, console=Console(stderr=True), transient=True):
        continue
