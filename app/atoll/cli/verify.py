"""`atoll verify`: look whether what is placed is in the stores, and with --heal act on it.

Exit status: 0 if all that was asked for was looked at and is right; LOST if a blob has no good copy
left; FAILED if something is wrong that has one; UNAVAILABLE if nothing is wrong, but a store could
not be reached, so that not everything was looked at.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from atoll import exit_codes
from atoll.cli.run import say
from atoll.config.sizes import parse_size
from atoll.db.pool import Database
from atoll.errors import UserError
from atoll.placement.checks import repair as healing
from atoll.placement.checks.verify import Run, Scope, Verifier, begin, resume
from atoll.placement.locations.sole_copies import SoleCopy
from atoll.placement.locations.states import LocationTable
from atoll.registry.blobs import cache_key
from atoll.server.bundle import load_bundle_for_stores
from atoll.server.container import wire_services
from atoll.services import Services
from atoll.storage.read_limit import ReadLimit

# Rows that a table and a JSON document show; the counts are always complete.
_SHOWN, _SHOWN_JSON = 50, 10_000


def verify(options: argparse.Namespace) -> int:
    """Look, report, and heal if asked to."""
    graph = wire_services(load_bundle_for_stores())
    database = graph.patient_database
    scope = _scope(database, options)
    run = (resume(database, scope) if options.resume else None) or begin(database, scope)
    verifier = Verifier(
        database, graph.locations.stores, graph.locations.health, ReadLimit(_rate(options.rate))
    )
    prober = graph.locations.start_probing(graph.thread_registry)
    try:
        look(verifier, run)
    finally:
        prober.stop()
    healed = heal(graph, run) if options.heal else None
    if options.json:
        sys.stdout.write(json.dumps(findings_as_json(database, run, healed)) + "\n")
    else:
        print_findings(database, run, healed, "the same with --resume --heal")
    return status_of(database, run)


def look(verifier: Verifier, run: Run) -> None:
    """Look at everything, with a bar for whoever looks on."""
    columns = (
        TextColumn("looking at placements"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("", total=None)
        for step in verifier.go_on(run):
            progress.update(bar, total=step.last, completed=step.done)


def heal(graph: Services, run: Run) -> int:
    """Act on what a run found; return how many placements are in quarantine for it now."""
    asked = run.scope.location is not None and not run.scope.inventory
    spared = [] if asked else healing.implausible(run.counts)
    for name in spared:
        say(
            f"more than half of what was looked at in '{name}' is missing or wrong: is its store"
            " the right one? Nothing was changed there; to quarantine it all the same:"
            f" atoll verify --location {name} --heal"
        )
    quarantined = 0
    replicated = graph.bundle.feature_storage_replication
    for one in healing.heal(graph.patient_database, run, spared=spared, queue=replicated):
        graph.redis.delete(cache_key(one.digest))
        if not one.sound:
            quarantined += 1
    if not (graph.redis.ping() and graph.redis.repeat_lost_deletions()):
        say(
            "Redis does not answer; the first process that reaches it corrects what it caches"
            " of placements"
        )
    return quarantined


def status_of(database: Database, run: Run) -> int:
    """Return the exit status that says in short what a run found."""
    if healing.lost(database, run, 0)[0]:
        return exit_codes.LOST
    if any(count.wrong for count in run.counts.values()):
        return exit_codes.FAILED
    if any(count.not_verified for count in run.counts.values()):
        return exit_codes.UNAVAILABLE
    return 0


def findings_as_json(database: Database, run: Run, healed: int | None) -> dict[str, object]:
    """Return what a run found as it stands in JSON; HEALED placements are in quarantine for it."""
    lost, lost_blobs = healing.lost(database, run, _SHOWN_JSON)
    return {
        "verification": run.id,
        "scope": asdict(run.scope),
        "locations": {name: asdict(count) for name, count in run.counts.items()},
        "wrong": sum(count.wrong for count in run.counts.values()),
        "findings": [asdict(found) for found in healing.findings(database, run, _SHOWN_JSON)],
        "lost": lost,
        "lost_blobs": [asdict(blob) for blob in lost_blobs],
        "not_verified": sum(count.not_verified for count in run.counts.values()),
        "quarantined": healed,
    }


def print_findings(database: Database, run: Run, healed: int | None, how: str) -> None:
    """Print what a run found.

    HEALED placements are in quarantine for it; with None nobody asked to heal, which is done HOW.
    """
    lost, lost_blobs = healing.lost(database, run, _SHOWN)
    _print_counts(run)
    _print_wrong(healing.findings(database, run, _SHOWN))
    _print_lost(lost_blobs)
    wrong = sum(count.wrong for count in run.counts.values())
    not_verified = sum(count.not_verified for count in run.counts.values())
    if not wrong and not not_verified:
        say("everything that was looked at is right")
    if not_verified:
        say(f"{not_verified} placements were not verified: their store cannot be reached from here")
    if wrong and healed is None:
        say(f"{wrong} placements are wrong; heal them with: {how}")
    if healed is not None:
        say(f"{healed} placements are in quarantine now, to be written anew from good copies")
    if lost:
        say(f"{lost} blobs have no good copy left: only a push of them heals")


def _scope(database: Database, options: argparse.Namespace) -> Scope:
    if not 0 < options.sample <= 100:  # noqa: PLR2004 - per cent
        raise UserError("--sample must be a number of per cent, more than 0 and at most 100")
    if options.location is not None:
        LocationTable(database).require_known(options.location)
    return Scope(options.location, options.namespace, options.sample, options.full)


def _rate(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        rate = parse_size(text)
    except ValueError as error:
        raise UserError(f"--rate {error}") from error
    if rate == 0:
        raise UserError("--rate must be more than 0")
    return rate


def _print_counts(run: Run) -> None:
    table = Table(
        "location",
        "right",
        "bytes hashed",
        "missing",
        "wrong size",
        "wrong digest",
        "right, in quarantine",
        "not verified",
    )
    for name, count in run.counts.items():
        table.add_row(name, *(str(value) for value in asdict(count).values()))
    Console().print(table)


def _print_wrong(found: list[healing.Finding]) -> None:
    if not found:
        return
    table = Table("location", "blob", "bytes", "what is wrong", title=f"the first {len(found)}")
    for finding in found:
        table.add_row(finding.location, finding.digest, str(finding.size), finding.defect)
    Console().print(table)


def _print_lost(blobs: list[SoleCopy]) -> None:
    if not blobs:
        return
    table = Table("no good copy left", "bytes", "needed by", title=f"the first {len(blobs)}")
    for blob in blobs:
        table.add_row(blob.digest, str(blob.size), "\n".join(blob.images))
    Console().print(table)
