"""`python -m util.removelocation NAME`: remove a location with Quay's question and messages.

Unlike Quay's, it removes only a drained location (`atoll drain`), refuses while a blob has its sole
copy there, works while clients push, and exits with 1 when nothing was removed.
"""

from __future__ import annotations

import sys

import click
from atoll import exit_codes
from atoll.cli.context import CommandContext
from atoll.cli.output import print_result
from atoll.cli.removal import QUESTION, ask, show_sole_copies
from atoll.cli.runner import run
from atoll.errors import UserError
from atoll.placement.locations.errors import LocationError, SoleCopiesRemain
from atoll.placement.locations.remove import RemovalStep


@click.command()
@click.argument("location")
@click.pass_obj
def remove(context: CommandContext, location: str) -> int:
    """Remove LOCATION, a name in DISTRIBUTED_STORAGE_CONFIG, after a confirmation."""
    services = context.services()
    if not services.bundle.feature_storage_replication:
        print_result("Storage replication is not enabled. Exiting.")
        return exit_codes.FAILED
    life_cycle = services.location_life_cycle
    if not ask(QUESTION.format(location=location), _ask_again):
        print_result("Canceling operation...")
        return 0
    try:
        for step in life_cycle.remove(location):
            _print(step)
    except LocationError as error:
        if isinstance(error, SoleCopiesRemain):
            show_sole_copies(life_cycle, location)
        raise UserError(f"Error removing storage location: {error}") from error
    print_result(f"Deleted location {location}")
    return 0


def _print(step: RemovalStep) -> None:
    if not step.placements:
        print_result(f"Removed {step.uploads} temporary blobs from blobupload table.")
    for placement in step.placements:
        print_result(f"Deleted placement {placement}")


def _ask_again() -> None:
    print_result("Please respond with 'yes' or 'no' (or 'y' or 'n').")


if __name__ == "__main__":
    sys.exit(run(remove, sys.argv[1:], name="python -m util.removelocation"))
