"""`python -m util.backfillreplication`: queue what is missing, one line a blob, as Quay does.

No output means that nothing is missing. `atoll backfill --wait` waits, and says more.
"""

from __future__ import annotations

import sys
from argparse import Namespace

from atoll.cli.run import run
from atoll.placement.upkeep.backfill import backfill
from atoll.server.bundle import load_bundle
from atoll.server.container import wire_services


def enqueue(options: Namespace) -> int:
    """Print a line for each blob that a required location lacks, once however many lack it."""
    del options
    graph = wire_services(load_bundle())
    if not graph.bundle.feature_storage_replication:
        sys.stdout.write("Storage replication is not enabled\n")
        return 0
    required = graph.bundle.required_locations
    for step in backfill(graph.database, required, uuids=True):
        for uuid in dict.fromkeys(uuid for found in step.found for uuid in found.uuids):
            sys.stdout.write(f"Enqueueing manifest blob {uuid} to be replicated\n")
    return 0


if __name__ == "__main__":
    sys.exit(run(Namespace(run="util.backfillreplication:enqueue")))
