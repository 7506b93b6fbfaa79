"""`python -m util.removelocation NAME`: remove a location, with Quay's prompt and output.

Unlike Quay's command, it removes only a location that was drained (`atoll drain`), refuses while a
blob has its sole copy there, works while clients push, and exits with 1 if nothing was removed.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

from atoll import exit_codes
from atoll.cli.removal import QUESTION, ask, show_sole_copies
from atoll.cli.run import run
from atoll.errors import UserError
from atoll.placement.locations.errors import LocationError, SoleCopiesRemain
from atoll.placement.locations.remove import RemovalStep
from atoll.server.bundle import load_bundle
from atoll.server.container import wire_services


def remove(options: Namespace) -> int:
    """Ask for confirmation, and remove the location."""
    services = wire_services(load_bundle())
    if not services.bundle.feature_storage_replication:
        sys.stdout.write("Storage replication is not enabled. Exiting.\n")
        return exit_codes.FAILED
    life_cycle, location = services.location_life_cycle, options.location
    if not ask(QUESTION.format(location=location), _ask_again):
        sys.stdout.write("Canceling operation...\n")
        return 0
    try:
        for step in life_cycle.remove(location):
            _print(step)
    except LocationError as error:
        if isinstance(error, SoleCopiesRemain):
            show_sole_copies(life_cycle, location)
        raise UserError(f"Error removing storage location: {error}") from error
    sys.stdout.write(f"Deleted location {location}\n")
    return 0


def _print(step: RemovalStep) -> None:
    if not step.placements:
        sys.stdout.write(f"Removed {step.uploads} temporary blobs from blobupload table.\n")
    for placement in step.placements:
        sys.stdout.write(f"Deleted placement {placement}\n")


def _ask_again() -> None:
    sys.stdout.write("Please respond with 'yes' or 'no' (or 'y' or 'n').\n")


if __name__ == "__main__":
    parser = ArgumentParser(prog="python -m util.removelocation", description=__doc__)
    parser.add_argument("location", help="a name in DISTRIBUTED_STORAGE_CONFIG")
    parser.set_defaults(run="util.removelocation:remove")
    sys.exit(run(parser.parse_args()))
