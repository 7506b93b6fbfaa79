"""`atoll mirror plan`: what a run of a mirror would do."""

from __future__ import annotations

import click

from atoll import exit_codes
from atoll.cli.commands import Command
from atoll.cli.context import CommandContext
from atoll.cli.options import json_option
from atoll.cli.output import Cell, alarm, print_json, print_result, print_table
from atoll.errors import UserError
from atoll.mirroring.dry_runs import NAMED_MAXIMUM, DryRun
from atoll.names import RepositoryName

# Seconds after which no further request is sent.
_SECONDS = 3600.0
_REASONS = {"unselected": "not selected any more", "gone": "not in the upstream any more"}
# Characters of a digest.
_DIGEST_SHOWN = 19


@click.command(
    cls=Command,
    exit_codes={
        0: "The run would copy and delete the listed tags.",
        1: "The run would fail; the output has the reason.",
    },
)
@click.argument("repository", metavar="NAMESPACE/REPOSITORY")
@json_option
@click.pass_obj
def plan(context: CommandContext, repository: str, as_json: bool) -> int:
    """Show what a run of a mirror would do, without starting it.

    The tags of the upstream are listed, and the digest of each selected tag is requested. The sizes
    of images are not known before they are copied.
    """
    services = context.services()
    mirror = services.mirrors.find(RepositoryName.parse(repository))
    found = services.mirror_dry_runs.plan(mirror, _SECONDS)
    if as_json:
        print_json(found.as_dict())
        return exit_codes.FAILED if found.outcome else 0
    if found.listed:
        _print(found)
    if found.outcome is not None:
        raise UserError(f"the run would fail: {found.outcome.message}")
    return 0


def _print(found: DryRun) -> None:
    plan = found.as_dict()
    rows: list[list[Cell]] = [
        ["copy", one["tag"], one["digest"][:_DIGEST_SHOWN]] for one in plan["copied"]
    ]
    rows += [[alarm("delete"), one["tag"], _REASONS[one["reason"]]] for one in plan["ended"]]
    rows += [
        ["keep", one["tag"], f"not in the upstream, {_until(one['until'])}"]
        for one in plan["postponed"]
    ]
    print_table(["action", "tag", "digest or reason"], rows, empty="Nothing would change.")
    if len(rows) < plan["tags_copied"] + plan["tags_ended"] + plan["tags_postponed"]:
        print_result(f"Only {NAMED_MAXIMUM} tags of each kind are listed.")
    print_result(
        f"{plan['tags_listed']} tags listed, {plan['tags_selected']} selected,"
        f" {plan['tags_copied']} to copy, {plan['tags_unchanged']} unchanged,"
        f" {plan['tags_ended']} to delete, {plan['tags_postponed']} postponed"
    )


def _until(date: str | None) -> str:
    return "until a later run" if date is None else f"until {date[:19]}"
