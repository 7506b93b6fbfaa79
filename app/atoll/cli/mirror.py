"""`atoll mirror`: repositories that are kept in step with those of other registries."""

from __future__ import annotations

from dataclasses import asdict

import click

from atoll.cli.commands import Group
from atoll.cli.context import CommandContext
from atoll.cli.mirror_dry_run import plan
from atoll.cli.mirror_import import import_mirrors
from atoll.cli.mirror_organization import organizations
from atoll.cli.mirror_output import (
    date_text,
    print_fields,
    print_verification,
    state_cell,
    success_text,
)
from atoll.cli.mirror_runs import cancel, confirm_deletions, sync, wait
from atoll.cli.options import json_option
from atoll.cli.output import (
    Cell,
    alarm,
    duration_text,
    print_json,
    print_table,
    size_text,
)
from atoll.mirroring.status import TAG_STATES, MirrorStatus, MirrorStatuses, RunStatus
from atoll.names import RepositoryName
from atoll.upstream.usage import upstream_usage

_REPOSITORY = click.argument("repository", metavar="NAMESPACE/REPOSITORY")
_RUNS_SHOWN = 20


@click.group(cls=Group)
def mirror() -> None:
    """Manage the mirrors of repositories of other registries."""


mirror.add_command(plan)


@mirror.command("list", examples=["atoll mirror list --failed"])
@click.option("--failed", is_flag=True, help="List only mirrors whose last run failed.")
@json_option
@click.pass_obj
def list_mirrors(context: CommandContext, *, failed: bool, as_json: bool) -> None:
    """List all mirrors."""
    found = MirrorStatuses(context.services().database).all()
    found = [one for one in found if not failed or one.sync_status == "FAIL"]
    if as_json:
        print_json([one.as_dict() for one in found])
        return
    rows: list[list[Cell]] = [
        [
            one.repository,
            one.reference,
            state_cell(one.sync_status, is_enabled=one.is_enabled),
            _interval(one),
            success_text(one.last_success_at, one.seconds_without_success),
        ]
        for one in found
    ]
    headings = ["repository", "upstream", "state", "interval", "last success"]
    print_table(headings, rows, empty="There are no such mirrors.")


@mirror.command()
@_REPOSITORY
@json_option
@click.pass_obj
def show(context: CommandContext, repository: str, as_json: bool) -> None:
    """Show a mirror and its current or last run."""
    found = MirrorStatuses(context.services().database).one(RepositoryName.parse(repository))
    if as_json:
        print_json(found.as_dict())
        return
    fields = {
        "enabled": "yes" if found.is_enabled else "no",
        "repository": found.state,
        "state": found.sync_status,
        "reason": found.reason or "-",
        "message": found.message or "-",
        "interval": _interval(found),
        "next run": date_text(found.next_at, "on request only"),
        "retries left": str(found.retries_remaining),
        "last success": success_text(found.last_success_at, found.seconds_without_success),
    }
    if found.run is not None:
        fields |= _run_fields(found.run)
    print_fields(f"{found.repository} mirrors {found.reference} as {found.robot}", fields)


@mirror.command()
@_REPOSITORY
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=_RUNS_SHOWN,
    show_default=True,
    help="The number of runs.",
)
@json_option
@click.pass_obj
def runs(context: CommandContext, repository: str, limit: int, as_json: bool) -> None:
    """List the latest runs of a mirror."""
    name = RepositoryName.parse(repository)
    statuses = MirrorStatuses(context.services().database)
    statuses.one(name)
    found = statuses.runs(name, limit)
    if as_json:
        print_json([one.as_dict() for one in found])
        return
    rows: list[list[Cell]] = [
        [
            one.started_at.isoformat(" ", "seconds"),
            one.cause,
            one.site,
            _outcome(one),
            one.tags_total,
            one.tags_copied,
            one.tags_failed,
            one.tags_deleted,
            size_text(one.bytes_copied),
        ]
        for one in found
    ]
    headings = "started", "cause", "site", "outcome", "tags", "copied", "failed", "deleted", "bytes"
    print_table(headings, rows, empty=f"{name} has had no run.")


@mirror.command(examples=["atoll mirror tags acme/app --state failed"])
@_REPOSITORY
@click.option("--state", type=click.Choice(TAG_STATES), help="List only tags in this state.")
@json_option
@click.pass_obj
def tags(context: CommandContext, repository: str, state: str | None, as_json: bool) -> None:
    """List the tags of a mirror and the errors of their copies."""
    name = RepositoryName.parse(repository)
    statuses = MirrorStatuses(context.services().database)
    statuses.one(name)
    found = statuses.tags(name, state)
    if as_json:
        print_json([one.as_dict() for one in found])
        return
    rows: list[list[Cell]] = [
        [
            one.tag,
            alarm(one.state) if one.state == "failed" else one.state,
            date_text(one.seen_at),
            one.error or "-",
        ]
        for one in found
    ]
    print_table(["tag", "state", "last seen", "error"], rows, empty="There are no such tags.")


@mirror.command(
    exit_codes={
        0: "The tags of the upstream could be listed.",
        1: "They could not; the output has the reason.",
    }
)
@_REPOSITORY
@json_option
@click.pass_obj
def verify(context: CommandContext, repository: str, as_json: bool) -> int:
    """Connect to the upstream of a mirror and list its tags.

    The credentials of the mirror are used. Nothing is changed.
    """
    services = context.services()
    found = services.mirrors.find(RepositoryName.parse(repository))
    result = services.mirror_verification.verify(found)
    return print_verification(
        str(found.repository), asdict(result), success=result.success, as_json=as_json
    )


@mirror.command()
@json_option
@click.pass_obj
def budget(context: CommandContext, as_json: bool) -> None:
    """Show the requests to upstreams, and their pauses.

    All processes of all sites share the permitted requests of an upstream and account.
    """
    found = upstream_usage(context.services().database)
    if as_json:
        print_json([one.as_dict() for one in found])
        return
    rows: list[list[Cell]] = [
        [
            one.host + (" (own route)" if one.has_route else ""),
            one.account or "-",
            f"{one.in_use}/{one.wanted}",
            one.processes,
            one.pulls,
            "-" if one.remaining is None else f"{one.remaining} of {one.allowance or 'unknown'}",
            alarm(duration_text(one.blocked)) if one.blocked else "-",
        ]
        for one in found
    ]
    headings = ["upstream", "account", "requests", "processes", "pulls", "pulls left", "paused"]
    print_table(headings, rows, empty="No requests have been sent to upstreams.")


for command in (sync, wait, cancel, confirm_deletions, import_mirrors, organizations):
    mirror.add_command(command)


def _interval(found: MirrorStatus) -> str:
    return duration_text(found.interval) if found.interval else "-"


def _outcome(found: RunStatus) -> Cell:
    text = found.outcome or "running"
    if found.reason:
        text = f"{text} ({found.reason})"
    return alarm(text) if found.outcome == "FAIL" else text


def _run_fields(run: RunStatus) -> dict[str, str]:
    return {
        "run": f"{run.cause} at {run.site} on {run.instance}",
        "started": run.started_at.isoformat(" ", "seconds"),
        "ended": date_text(run.finished_at, "running"),
        "tags": (
            f"{run.tags_total}, {run.tags_unchanged} unchanged, {run.tags_copied} copied,"
            f" {run.tags_pending} pending, {run.tags_failed} failed, {run.tags_deleted} deleted"
        ),
        "copied": f"{size_text(run.bytes_copied)}, {size_text(run.bytes_present)} present before",
        "requests": str(run.requests),
    }
