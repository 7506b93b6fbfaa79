"""`python -m util.backfillreplication`: queue missing copies, as in Quay.

Prints a line for each blob; no output means that nothing is missing. `atoll backfill --wait` waits,
and reports more.
"""

from __future__ import annotations

import sys

import click
from atoll.cli.context import CommandContext
from atoll.cli.output import print_result
from atoll.cli.runner import run
from atoll.placement.upkeep.backfill import backfill


@click.command()
@click.pass_obj
def enqueue(context: CommandContext) -> int:
    """Queue missing copies, and print a line for each blob."""
    services = context.services()
    if not services.bundle.feature_storage_replication:
        print_result("Storage replication is not enabled")
        return 0
    required = services.bundle.required_locations
    for step in backfill(services.database, required, uuids=True):
        # Once per blob, however many locations lack it.
        for uuid in dict.fromkeys(uuid for found in step.found for uuid in found.uuids):
            print_result(f"Enqueueing manifest blob {uuid} to be replicated")
    return 0


if __name__ == "__main__":
    sys.exit(run(enqueue, sys.argv[1:], name="python -m util.backfillreplication"))
