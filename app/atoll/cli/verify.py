"""`atoll verify`: verify that stores hold what is placed there."""

from __future__ import annotations

from dataclasses import asdict

import click

from atoll import exit_codes
from atoll.cli.commands import Command
from atoll.cli.context import CommandContext
from atoll.cli.options import json_option, size_option
from atoll.cli.output import (
    Cell,
    alarm,
    note,
    print_json,
    print_result,
    print_table,
    progress,
    size_text,
)
from atoll.db.pool import Database
from atoll.errors import UserError
from atoll.placement.checks import repair
from atoll.placement.checks.verify import Run, Scope, Verifier, begin, latest_run
from atoll.placement.locations.sole_copies import SoleCopy
from atoll.placement.locations.states import LocationTable
from atoll.rate_limit import RateLimiter
from atoll.services import Services

# Findings in the text and in the JSON document; the counts are always complete.
_SHOWN, _SHOWN_JSON = 50, 10_000


@click.command(
    cls=Command,
    exit_codes={
        0: "All copies were verified and are good.",
        1: "Copies are bad; every blob has a good copy elsewhere.",
        65: "Blobs have no good copy left.",
        69: "A store was unavailable; all copies that were verified are good.",
    },
    examples=["atoll verify --full --rate 50M", "atoll verify --location us --heal"],
)
@click.option("--location", metavar="NAME", help="Verify the copies of this location only.")
@click.option("--namespace", metavar="NAME", help="Verify blobs of this namespace only.")
@click.option(
    "--sample", type=float, default=100, metavar="PERCENT", help="Verify a random part only."
)
@click.option("--full", is_flag=True, help="Read and hash every byte, instead of only the size.")
@click.option(
    "--rate",
    metavar="BYTES_PER_SECOND",
    help="The maximum read rate with --full, such as 20M.",
)
@click.option(
    "--resume", "resumes", is_flag=True, help="Resume the last run with the same options."
)
@click.option("--report-only", is_flag=True, help="Change nothing. This is the default.")
@click.option("--heal", "heals", is_flag=True, help="Quarantine bad copies and replace them.")
@json_option
@click.pass_obj
def verify(
    context: CommandContext,
    *,
    location: str | None,
    namespace: str | None,
    sample: float,
    full: bool,
    rate: str | None,
    resumes: bool,
    report_only: bool,
    heals: bool,
    as_json: bool,
) -> int:
    """Verify that stores hold what is placed there.

    Asks the stores for the size of each object, or reads it with --full. With --heal, bad copies
    are no longer served and are written again from good ones.
    """
    if heals and report_only:
        raise click.UsageError("--heal is not allowed with --report-only")
    services = context.services_with_stores()
    database = services.batch_database
    scope = _scope(database, location, namespace, sample, full=full)
    limit = RateLimiter(size_option("--rate", rate))
    run = (latest_run(database, scope) if resumes else None) or begin(database, scope)
    verifier = Verifier(database, services.locations.stores, services.locations.health, limit)
    prober = services.locations.start_probing(services.thread_registry)
    try:
        with progress("verifying copies") as advance:
            for step in verifier.verify(run):
                advance(step.done, step.last)
    finally:
        prober.stop()
    healed = heal(services, run) if heals else None
    if as_json:
        print_json(findings_as_json(database, run, healed))
    else:
        print_findings(database, run, healed, "the same with --resume --heal")
    return exit_code_of(database, run)


def _scope(
    database: Database, location: str | None, namespace: str | None, sample: float, *, full: bool
) -> Scope:
    if not 0 < sample <= 100:  # noqa: PLR2004 - per cent
        raise UserError("--sample must be a number of per cent, more than 0 and at most 100")
    if location is not None:
        LocationTable(database).require_known(location)
    return Scope(location, namespace, sample, full)


def heal(services: Services, run: Run) -> int:
    """Quarantine the bad copies of a run, and return their number."""
    named = run.scope.location is not None and not run.scope.inventory
    spared = [] if named else repair.implausible(run.counts)
    for name in spared:
        note(
            f"more than half of the copies verified in '{name}' are missing or bad: is its store"
            " the right one? Nothing was changed there; to quarantine them anyway:"
            f" atoll verify --location {name} --heal"
        )
    quarantined = 0
    replicated = services.bundle.feature_storage_replication
    for one in repair.heal(services.batch_database, run, spared=spared, queue=replicated):
        services.placement_cache.forget(one.digest)
        if not one.intact:
            quarantined += 1
    if not (services.redis.ping() and services.redis.repeat_lost_deletions()):
        note(
            "Redis does not answer; the first process that reaches it corrects what it caches"
            " of placements"
        )
    return quarantined


def exit_code_of(database: Database, run: Run) -> int:
    """Return the exit code that summarizes the findings of a run."""
    if repair.lost(database, run, 0)[0]:
        return exit_codes.LOST
    if any(count.wrong for count in run.counts.values()):
        return exit_codes.FAILED
    if any(count.not_verified for count in run.counts.values()):
        return exit_codes.UNAVAILABLE
    return 0


def findings_as_json(database: Database, run: Run, healed: int | None) -> dict[str, object]:
    """Return the findings of a run for JSON.

    Args:
        database: where the findings are.
        run: the run.
        healed: the number of copies in quarantine; None if healing was not requested.
    """
    lost, lost_blobs = repair.lost(database, run, _SHOWN_JSON)
    return {
        "verification": run.id,
        "scope": asdict(run.scope),
        "locations": {name: asdict(count) for name, count in run.counts.items()},
        "wrong": sum(count.wrong for count in run.counts.values()),
        "findings": [asdict(found) for found in repair.findings(database, run, _SHOWN_JSON)],
        "lost": lost,
        "lost_blobs": [asdict(blob) for blob in lost_blobs],
        "not_verified": sum(count.not_verified for count in run.counts.values()),
        "quarantined": healed,
    }


def print_findings(database: Database, run: Run, healed: int | None, command: str) -> None:
    """Print the findings of a run.

    Args:
        database: where the findings are.
        run: the run.
        healed: the number of copies in quarantine; None if healing was not requested.
        command: how to request it.
    """
    lost, lost_blobs = repair.lost(database, run, _SHOWN)
    print_counts(run)
    _print_bad_copies(repair.findings(database, run, _SHOWN))
    _print_lost(lost_blobs)
    wrong = sum(count.wrong for count in run.counts.values())
    not_verified = sum(count.not_verified for count in run.counts.values())
    if not wrong and not not_verified:
        print_result("all copies that were verified are good")
    if not_verified:
        print_result(f"{not_verified} copies were not verified: their store is unavailable")
    if wrong and healed is None:
        print_result(f"{wrong} copies are bad; heal them with: {command}")
    if healed is not None:
        print_result(f"{healed} copies are in quarantine, to be replaced from good copies")
    if lost:
        print_result(f"{lost} blobs have no good copy left; push them again to restore them")


def print_counts(run: Run) -> None:
    """Print what was counted at each location."""
    headings = [
        "location",
        "good",
        "missing",
        "bad size",
        "bad digest",
        "restored",
        "skipped",
        "hashed",
    ]
    rows: list[list[Cell]] = [
        [
            name,
            count.verified,
            *(
                alarm(str(number)) if number else number
                for number in (count.missing, count.wrong_size, count.wrong_digest)
            ),
            count.sound,
            count.not_verified,
            size_text(count.bytes),
        ]
        for name, count in run.counts.items()
    ]
    print_table(headings, rows, empty="There are no copies to verify.")


def _print_bad_copies(found: list[repair.Finding]) -> None:
    if found:
        print_result(f"\nBad copies (the first {len(found)}):")
    for finding in found:
        print_result(f"{finding.digest}")
        print_result(f"  {finding.location}: {finding.defect}, {size_text(finding.size)}")


def _print_lost(blobs: list[SoleCopy]) -> None:
    if blobs:
        print_result(f"\nBlobs without a good copy (the first {len(blobs)}):")
    for blob in blobs:
        print_result(f"{blob.digest}  {size_text(blob.size)}")
        for image in blob.images:
            print_result(f"  used by {image}")
