"""`atoll status`: instances, stores, replication lag and mirrors."""

from __future__ import annotations

import click
from rich.text import Text

from atoll import exit_codes
from atoll.cli.commands import Command
from atoll.cli.context import CommandContext
from atoll.cli.options import json_option
from atoll.cli.output import (
    Cell,
    alarm,
    duration_text,
    print_items,
    print_json,
    print_result,
    print_table,
    size_text,
)
from atoll.cluster.instances import Instance
from atoll.mirroring.organizations.organization_status import (
    OrganizationStatuses,
    OrganizationSummary,
)
from atoll.mirroring.organizations.records import SKIP
from atoll.mirroring.status import MirrorStatuses, MirrorSummary
from atoll.placement.status import StatusReport, StatusReporter


@click.command(
    cls=Command,
    exit_codes={0: "There are no problems.", 1: "There are problems; the output lists them."},
    examples=["atoll status --max-lag 900", "atoll status --json"],
)
@click.option(
    "--max-lag",
    type=float,
    metavar="SECONDS",
    help="Report copies that have been pending for longer as a problem.",
)
@json_option
@click.pass_obj
def status(context: CommandContext, max_lag: float | None, as_json: bool) -> int:
    """Show instances, stores, replication lag and mirrors."""
    database = context.services().database
    found = StatusReporter(database).report()
    mirrors = MirrorStatuses(database).summary()
    organizations = OrganizationStatuses(database).summary()
    problems = found.problems(max_lag) + mirrors.problems() + organizations.problems()
    if as_json:
        counts = {
            "mirrors": mirrors.as_dict(),
            "organization_mirrors": organizations.as_dict(),
        }
        print_json({**found.as_dict(), **counts, "problems": problems})
    else:
        print_status(found, mirrors, organizations, problems)
    return exit_codes.FAILED if problems else 0


def print_status(
    found: StatusReport,
    mirrors: MirrorSummary,
    organizations: OrganizationSummary,
    problems: list[str],
) -> None:
    """Print the instances, the locations, the counts of mirrors if any, and the problems."""
    _print_instances(found)
    print_result("")
    _print_locations(found)
    if mirrors.mirrors:
        print_result("")
        _print_mirrors(mirrors)
    if organizations.mirrors:
        print_result("")
        _print_organizations(organizations)
    if problems:
        print_result("")
        print_items("Problems:", problems)


def _print_instances(found: StatusReport) -> None:
    rows: list[list[Cell]] = [
        [
            one.hostname,
            one.role,
            one.preference[0],
            one.version,
            _last_seen(one),
            alarm("differs") if one.drift else "in sync",
        ]
        for one in found.instances
    ]
    headings = ["host", "role", "location", "version", "last seen", "bundle"]
    print_table(headings, rows, empty="No instances are running.")


def _last_seen(instance: Instance) -> Cell:
    ago = f"{duration_text(instance.seen_seconds_ago)} ago"
    return alarm(f"{ago} (lost)") if instance.lost else ago


def _print_locations(found: StatusReport) -> None:
    rows: list[list[Cell]] = [
        [
            entry.location,
            entry.state,
            _health(found.instances, entry.location),
            entry.pending_blobs,
            size_text(entry.pending_bytes) if entry.pending_blobs else "-",
            duration_text(entry.oldest_seconds) if entry.pending_blobs else "-",
            alarm(str(entry.failing_blobs)) if entry.failing_blobs else entry.failing_blobs,
            found.deletions.get(entry.location, 0),
        ]
        for entry in found.locations
    ]
    headings = ["location", "state", "store", "to copy", "size", "oldest", "failing", "to delete"]
    print_table(headings, rows, empty="There are no locations; run 'atoll migrate'.")


def _print_mirrors(mirrors: MirrorSummary) -> None:
    failed = alarm(str(mirrors.failed)) if mirrors.failed else mirrors.failed
    overdue = len(mirrors.overdue)
    row: list[Cell] = [
        mirrors.mirrors,
        mirrors.active,
        mirrors.running,
        mirrors.due,
        failed,
        alarm(str(overdue)) if overdue else overdue,
    ]
    print_table(["mirrors", "active", "running", "due", "failed", "overdue"], [row])


def _print_organizations(organizations: OrganizationSummary) -> None:
    overdue, counts = len(organizations.overdue), organizations.repositories
    row: list[Cell] = [
        len(organizations.mirrors),
        sum(counts.values()) - counts[SKIP],
        counts[SKIP],
        alarm(str(organizations.failed)) if organizations.failed else organizations.failed,
        alarm(str(overdue)) if overdue else overdue,
    ]
    headings = ["mirrored organizations", "repositories", "skipped", "failed", "overdue"]
    print_table(headings, [row])


def _health(instances: list[Instance], location: str) -> Cell:
    """Return the store's health as the running instances report it."""
    reports = [
        one.stores[location]["up"] for one in instances if not one.lost and location in one.stores
    ]
    if not reports:
        return "unknown"
    up = sum(1 for report in reports if report)
    if up == len(reports):
        return Text("up", style="green")
    return alarm("down" if not up else f"up {up}/{len(reports)}")
