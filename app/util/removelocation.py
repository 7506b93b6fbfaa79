"""`python -m util.removelocation NAME`: remove a location with Quay's question and messages.

Unlike Quay's, it removes only a drained location (`atoll drain`), refuses while a blob has its sole
copy there, works while clients push, and exits with 1 when nothing was removed.
"""

from __future__ import annotations

import sys

import click
from atoll import exit_codes
from atoll.cli.context import CommandContext
from atoll.cli.removal import QUESTION, ask, show_only_there, unreadable_others
from atoll.cli.runner import run
from atoll.errors import UserError
from atoll.placement.locations.drain import LocationNeeded, LocationUnknown, Trust
from atoll.placement.locations.remove import remove_location


@click.command()
@click.argument("location")
@click.pass_obj
def remove(context: CommandContext, location: str) -> int:
    """Remove LOCATION, a name in DISTRIBUTED_STORAGE_CONFIG, after a confirmation."""
    services = context.services_to_serve()
    if not services.bundle.feature_storage_replication:
        sys.stdout.write("Storage replication is not enabled. Exiting.\n")
        return exit_codes.FAILED
    database = services.patient_database
    if not ask(QUESTION.format(location=location), _ask_again):
        sys.stdout.write("Canceling operation...\n")
        return 0
    try:
        trust = Trust(unreadable_others(database, location))
        for removed in remove_location(database, location, trust=trust):
            if not removed.placements:
                sys.stdout.write(
                    f"Removed {removed.uploads} temporary blobs from blobupload table.\n"
                )
            for placement in removed.placements:
                sys.stdout.write(f"Deleted placement {placement}\n")
    except (LocationUnknown, LocationNeeded) as error:
        show_only_there(database, location, error)
        raise UserError(f"Error removing storage location: {error}") from error
    sys.stdout.write(f"Deleted location {location}\n")
    return 0


def _ask_again() -> None:
    sys.stdout.write("Please respond with 'yes' or 'no' (or 'y' or 'n').\n")


if __name__ == "__main__":
    sys.exit(run(remove, sys.argv[1:], name="python -m util.removelocation"))
