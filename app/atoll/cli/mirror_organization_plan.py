"""`atoll mirror organization plan`: what a discovery would do."""

from __future__ import annotations

import click

from atoll import exit_codes
from atoll.cli.commands import Command
from atoll.cli.context import CommandContext
from atoll.cli.options import json_option
from atoll.cli.output import Cell, alarm, print_json, print_result, print_table
from atoll.errors import UserError
from atoll.mirroring.dry_runs import NAMED_MAXIMUM
from atoll.mirroring.organizations.organization_dry_runs import (
    CONFLICT,
    CREATE,
    RESUME,
    SKIP,
    OrganizationDryRun,
)

# Seconds after which no further request is sent.
_SECONDS = 3600.0


@click.command(
    cls=Command,
    exit_codes={
        0: "The discovery would have the listed results.",
        1: "The discovery would fail; the output has the reason.",
    },
)
@click.argument("organization", metavar="ORGANIZATION")
@json_option
@click.pass_obj
def plan(context: CommandContext, organization: str, as_json: bool) -> int:
    """Show what a discovery would do, without starting it.

    The repositories of the upstream are listed. Each is created or resumed as a mirror, kept as
    one, skipped because it is no longer listed or selected, a conflict, or ignored because the
    filters never selected it. The tags of a mirror are planned by `atoll mirror plan`.
    """
    services = context.services()
    mirror = services.organization_mirrors.find(organization)
    found = services.organization_dry_runs.plan(mirror, _SECONDS)
    if as_json:
        print_json(found.as_dict())
        return exit_codes.FAILED if found.outcome else 0
    if found.outcome is not None:
        raise UserError(f"the discovery would fail: {found.outcome.message}")
    _print(found)
    return 0


def _print(found: OrganizationDryRun) -> None:
    rows: list[list[Cell]] = [
        [
            alarm(one.action) if one.action == CONFLICT else one.action,
            one.repository,
            one.reason or one.external_reference,
        ]
        for one in found.named()
    ]
    empty = "The upstream lists no repositories."
    print_table(["action", "repository", "upstream or reason"], rows, empty=empty)
    if len(rows) < len(found.repositories):
        print_result(f"Only {NAMED_MAXIMUM} repositories of each action are listed.")
    counts = found.counts
    print_result(
        f"{found.listed} repositories listed, {found.selected} selected;"
        f" {counts[CREATE]} to create, {counts[RESUME]} to resume, {counts[SKIP]} to skip,"
        f" {counts[CONFLICT]} conflicts"
    )
