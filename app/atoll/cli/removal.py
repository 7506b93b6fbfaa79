"""`atoll locations remove`; `python -m util.removelocation` uses its prompt and its list."""

from __future__ import annotations

import sys
from collections.abc import Callable

import click

from atoll.cli import output
from atoll.cli.commands import Command
from atoll.cli.context import CommandContext
from atoll.cli.loss import remove_lost
from atoll.cli.options import duration_option, json_option, yes_option
from atoll.cli.output import Cell, note, print_json, print_result, print_table, progress
from atoll.errors import UserError
from atoll.placement.checks.verify import PlacementCheck, Verifier
from atoll.placement.locations.errors import SoleCopiesRemain
from atoll.placement.locations.life_cycle import (
    CopyRequirements,
    LocationLifeCycle,
    SurvivorsUnverified,
)
from atoll.placement.locations.remove import BATCH
from atoll.rate_limit import RateLimiter
from atoll.services import Services

# Quay's prompt, and the answers that it accepts.
QUESTION = (
    "WARNING: This is a destructive operation. Are you sure you want to remove {location}"
    " from your storage locations? [y/n] "
)
_ANSWERS = {"y": True, "ye": True, "yes": True, "n": False, "no": False}
_REMOVED = (
    "{location} is removed. Its objects are still in its store; take its entry out of"
    " DISTRIBUTED_STORAGE_CONFIG at every site."
)
_SHOWN = 20


@click.command(
    cls=Command,
    exit_codes={
        0: "The location is removed, or with --dry-run can be.",
        1: "The removal was refused; the message gives the reason.",
    },
    examples=[
        "atoll locations remove eustorage --dry-run",
        "atoll locations remove eustorage --verified-since 7d",
        "atoll locations remove eustorage --lost",
    ],
)
@click.argument("location")
@click.option("--dry-run", is_flag=True, help="Only check whether it can be removed.")
@yes_option
@click.option("--undo", is_flag=True, help="Restore the placements of an unfinished removal.")
@click.option(
    "--verified-since",
    metavar="DURATION",
    help="Count only other copies that were hashed within this time, such as 7d.",
)
@click.option(
    "--check-objects",
    is_flag=True,
    help="Ask the stores for each copy that would be the last.",
)
@click.option(
    "--yes-unverified",
    is_flag=True,
    help="Also count copies at stores that no site can read.",
)
@click.option(
    "--lost",
    is_flag=True,
    help="Remove a location whose store is gone, and record the lost blobs.",
)
@click.option(
    "--accept-loss",
    type=int,
    metavar="BLOBS",
    help="The exact number of blobs that are lost, with --lost.",
)
@json_option
@click.pass_obj
def remove(
    context: CommandContext,
    *,
    location: str,
    dry_run: bool,
    yes: bool,
    undo: bool,
    verified_since: str | None,
    check_objects: bool,
    yes_unverified: bool,
    lost: bool,
    accept_loss: int | None,
    as_json: bool,
) -> None:
    """Remove a drained location from the registry.

    Refused while a blob has its sole copy there. The objects in its store are kept; 'atoll
    locations purge' deletes them.
    """
    if lost and (verified_since or check_objects or yes_unverified):
        raise UserError(
            "--verified-since, --check-objects and --yes-unverified do not go with --lost"
        )
    if accept_loss is not None and not lost:
        raise UserError("--accept-loss goes with --lost")
    if lost and yes and not undo:
        raise UserError("--yes accepts no loss; give the number of lost blobs with --accept-loss")
    services = context.services_with_stores() if check_objects else context.services()
    life_cycle = services.location_life_cycle
    if undo:
        life_cycle.undo_removal(location)
        _print(location, f"{location} is back; see 'atoll locations'", as_json=as_json)
    elif lost:
        remove_lost(life_cycle, location, dry_run=dry_run, accept_loss=accept_loss, as_json=as_json)
    else:
        requirements = CopyRequirements(
            duration_option("--verified-since", verified_since), count_unreachable=yes_unverified
        )
        try:
            placements = life_cycle.check_removal(location, requirements)
            if check_objects:
                _check_objects(services, location)
            if dry_run:
                text = f"{location} can be removed: its {placements} blobs have other copies"
                _print(location, text, as_json=as_json)
                return
            removed = yes or _confirmed(location)
            if removed:
                _remove(life_cycle, location, placements, requirements)
        except SoleCopiesRemain:
            show_sole_copies(life_cycle, location)
            raise
        text = _REMOVED.format(location=location) if removed else "nothing was changed"
        _print(location, text, removed=removed, as_json=as_json)


def _print(location: str, text: str, *, removed: bool = False, as_json: bool) -> None:
    if as_json:
        print_json({"location": location, "removed": removed})
    else:
        print_result(text)


def show_sole_copies(life_cycle: LocationLifeCycle, location: str) -> None:
    """List the first sole copies of a location on standard error."""
    copies = life_cycle.sole_copies(location, _SHOWN)
    note(f"Sole copies at {location} (the first {len(copies)}):")
    for copy in copies:
        note(f"{copy.digest}  {copy.size} bytes")
        for image in copy.images:
            note(f"  used by {image}")


def ask(question: str, explain: Callable[[], None]) -> bool:
    """Ask on standard output until the answer is yes or no. The end of the input means no.

    Args:
        question: the prompt.
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


def _check_objects(services: Services, location: str) -> None:
    """Check the objects of copies that would be sole copies.

    Raises:
        SurvivorsUnverified: objects are bad, or could not be checked.
    """
    stores, health = services.locations.stores, services.locations.health
    verifier = Verifier(services.batch_database, stores, health, RateLimiter(None))
    checked = 0
    prober = services.locations.start_probing(services.thread_registry)
    try:
        with progress("checking the copies that remain") as advance:
            for step in services.location_life_cycle.check_survivors(location, verifier):
                checked += len(step.copies)
                advance(step.done, step.last)
    except SurvivorsUnverified as error:
        _show_bad_copies(error.bad[:_SHOWN])
        raise
    finally:
        prober.stop()
    note(f"{checked} copies that would remain alone are in their stores")


def _show_bad_copies(bad: list[PlacementCheck]) -> None:
    rows: list[list[Cell]] = [
        [str(one.digest), one.location, one.size, str(one.result or one.unreachable)] for one in bad
    ]
    print_table(["blob", "location", "bytes", "problem"], rows, to_stderr=True)


def _confirmed(location: str) -> bool:
    while (text := output.ask(QUESTION.format(location=location))) is not None:
        answer = _ANSWERS.get(text.lower())
        if answer is not None:
            return answer
        note("Please answer y or n.")
    return False


def _remove(
    life_cycle: LocationLifeCycle, location: str, placements: int, requirements: CopyRequirements
) -> None:
    total = placements // BATCH + 2
    with progress("removing") as advance:
        for done, _ in enumerate(life_cycle.remove(location, requirements), start=1):
            advance(done, total)
