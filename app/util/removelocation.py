"""`python -m util.removelocation NAME`: Quay's question and lines, and a proof before the first.

Unlike Quay's it removes only a location that was drained (`atoll drain`), refuses while a blob has
its sole copy there, works while clients push, and its exit status is 1 when nothing was removed.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

from atoll import exit_codes
from atoll.cli.removal import QUESTION, ask, show_only_there, unreadable_others
from atoll.cli.run import run
from atoll.errors import UserError
from atoll.placement.locations.drain import LocationNeeded, LocationUnknown, Trust
from atoll.placement.locations.remove import remove_location
from atoll.server.bundle import load_bundle
from atoll.server.container import wire_services


def remove(options: Namespace) -> int:
    """Ask, and remove the location."""
    graph = wire_services(load_bundle())
    if not graph.bundle.feature_storage_replication:
        sys.stdout.write("Storage replication is not enabled. Exiting.\n")
        return exit_codes.FAILED
    database, location = graph.patient_database, options.location
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
    parser = ArgumentParser(prog="python -m util.removelocation", description=__doc__)
    parser.add_argument("location", help="a name in DISTRIBUTED_STORAGE_CONFIG")
    parser.set_defaults(run="util.removelocation:remove")
    sys.exit(run(parser.parse_args()))
