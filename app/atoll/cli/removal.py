"""`atoll remove-location`, and the same in Quay's words for `python -m util.removelocation`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from rich.console import Console
from rich.progress import track
from rich.table import Table

from atoll.cli.bundle import load_bundle_to_administer
from atoll.cli.graph import Graph
from atoll.cli.loss import remove_lost
from atoll.cli.run import CommandFailed, say
from atoll.db.pool import Database
from atoll.replication import removal as domain
from atoll.replication.draining import (
    LocationNeeded,
    LocationUnknown,
    SoleCopies,
    only_there,
)

# As Quay asks, and what it takes for an answer.
QUESTION = (
    "WARNING: This is a destructive operation. Are you sure you want to remove {location}"
    " from your storage locations? [y/n] "
)
_ANSWERS = {"y": True, "ye": True, "yes": True, "n": False, "no": False}
_SHOWN = 20


def remove_location(options: argparse.Namespace) -> int:
    """Remove a location, or only say whether that is possible, or undo a removal."""
    graph = Graph(load_bundle_to_administer())
    database = graph.patient_database
    location: str = options.location
    if options.lost and not options.undo:
        return remove_lost(graph, options)
    if options.json or options.accept_loss is not None:
        raise CommandFailed("--json and --accept-loss go with --lost")
    try:
        if options.undo:
            domain.undo_removal(database, location)
            say(f"{location} is back; look at it with `atoll locations`")
            return 0
        placements = domain.check_removal(database, location)
        if options.dry_run:
            say(f"{location} can go: its {placements} blobs are all elsewhere, too")
            return 0
        if not options.yes and not _agreed(location):
            say("nothing was changed")
            return 0
        _remove(database, location, placements)
    except (LocationUnknown, LocationNeeded) as error:
        show_only_there(database, location, error)
        raise CommandFailed(str(error)) from error
    say(
        f"{location} is removed. Its objects are still in its store; take its entry out of"
        " DISTRIBUTED_STORAGE_CONFIG at every site."
    )
    return 0


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


def _agreed(location: str) -> bool:
    if not sys.stdin.isatty():
        raise CommandFailed("there is nobody to ask; confirm with --yes")
    return ask(QUESTION.format(location=location), lambda: say("Please answer y or n."))


def _remove(database: Database, location: str, placements: int) -> None:
    steps = domain.remove_location(database, location)
    total = placements // domain.BATCH + 2
    for _ in track(steps, "removing", total=total, console=Console(stderr=True), transient=True):
        continue
