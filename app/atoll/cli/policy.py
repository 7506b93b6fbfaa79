"""`atoll policy`: the placement policies of namespaces and repositories."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from atoll.cli.commands import Group
from atoll.cli.context import CommandContext
from atoll.cli.enforcement import enforce
from atoll.cli.options import json_option
from atoll.cli.output import Cell, note, print_json, print_result, print_table
from atoll.errors import UserError
from atoll.placement.policies import (
    SYNC_SECONDS,
    SYNC_SECONDS_MAXIMUM,
    Policies,
    Policy,
    Subject,
)
from atoll.placement.upkeep.backfill import backfill
from atoll.services import Services

_SUBJECT = click.argument("subject", metavar="NAMESPACE[/REPOSITORY]")


@click.group(cls=Group)
def policy() -> None:
    """Manage the placement policies of namespaces and repositories.

    A policy adds locations where blobs must be, or excludes locations. Policies of a repository
    and of its namespace apply together.
    """


@policy.command("list")
@json_option
@click.pass_obj
def list_policies(context: CommandContext, as_json: bool) -> None:
    """List all policies."""
    found = _policies(context.services()).all()
    if as_json:
        print_json([{"subject": str(subject), **asdict(one)} for subject, one in found])
        return
    rows: list[list[Cell]] = [
        [
            str(subject),
            " ".join(one.extra) or "-",
            " ".join(one.excluded) or "-",
            "urgent" if one.urgent else "normal",
            f"{one.sync_copies} copies, {one.sync_seconds} s" if one.sync_copies else "-",
        ]
        for subject, one in found
    ]
    headings = ["subject", "extra", "excluded", "priority", "pushes wait for"]
    print_table(headings, rows, empty="There are no policies.")


@policy.command()
@_SUBJECT
@json_option
@click.pass_obj
def show(context: CommandContext, subject: str, as_json: bool) -> None:
    """Show a policy and what it requires."""
    _print(_report(context.services(), Subject.parse(subject)), as_json=as_json)


@policy.command("set")
@_SUBJECT
@click.option(
    "--extra", multiple=True, metavar="LOCATION", help="Also require copies there; repeatable."
)
@click.option(
    "--exclude", multiple=True, metavar="LOCATION", help="Allow no copies there; repeatable."
)
@click.option("--urgent", is_flag=True, help="Copy its blobs before those of others.")
@click.option(
    "--sync",
    type=int,
    metavar="COPIES",
    help="Accept a manifest once its blobs are at this number of locations.",
)
@click.option(
    "--sync-timeout",
    type=int,
    metavar="SECONDS",
    help=f"Refuse the manifest after this time. Default: {SYNC_SECONDS}.",
)
@json_option
@click.pass_obj
def set_policy(
    context: CommandContext,
    *,
    subject: str,
    extra: tuple[str, ...],
    exclude: tuple[str, ...],
    urgent: bool,
    sync: int | None,
    sync_timeout: int | None,
    as_json: bool,
) -> None:
    """Set a policy, and queue newly required copies.

    Replaces the policy: an option that is not given returns to its default.
    """
    if sync_timeout is not None and sync is None:
        raise UserError("--sync-timeout needs --sync")
    seconds = SYNC_SECONDS if sync_timeout is None else sync_timeout
    if not 0 < seconds <= SYNC_SECONDS_MAXIMUM:
        raise UserError(f"--sync-timeout must be from 1 to {SYNC_SECONDS_MAXIMUM} seconds")
    if sync is not None and sync < 2:  # noqa: PLR2004 - the push itself makes one copy
        raise UserError("--sync must be 2 or more: one copy is there when a push ends")
    services = context.services()
    parsed = Subject.parse(subject)
    _policies(services).set(
        parsed,
        Policy(
            tuple(dict.fromkeys(extra)),
            tuple(dict.fromkeys(exclude)),
            urgent,
            sync,
            seconds if sync else None,
        ),
    )
    _queue_missing(services)
    _print(_report(services, parsed), as_json=as_json)


@policy.command()
@_SUBJECT
@json_option
@click.pass_obj
def clear(context: CommandContext, subject: str, as_json: bool) -> None:
    """Delete a policy, and queue newly required copies."""
    services = context.services()
    parsed = Subject.parse(subject)
    _policies(services).clear(parsed)
    _queue_missing(services)
    _print(_report(services, parsed), as_json=as_json)


policy.add_command(enforce)


def _policies(services: Services) -> Policies:
    return Policies(services.batch_database, services.bundle.required_locations)


def _queue_missing(services: Services) -> None:
    """Queue missing copies now, as the workers do within seconds."""
    if not services.bundle.feature_storage_replication:
        return
    required = services.bundle.required_locations
    missing = sum(
        found.blobs for step in backfill(services.batch_database, required) for found in step.found
    )
    note(f"{missing} copies are to be made" if missing else "no copy is missing")


def _report(services: Services, subject: Subject) -> dict[str, Any]:
    policies = _policies(services)
    return {
        "subject": str(subject),
        **asdict(policies.get(subject)),
        "required": policies.required(subject),
        "excess": [asdict(entry) for entry in policies.over_replicated(subject)],
    }


def _print(report: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(report)
        return
    print_result(f"{report['subject']}: blobs must be at {', '.join(report['required'])}")
    for name in report["extra"]:
        print_result(f"  required by this policy: {name}")
    for name in report["excluded"]:
        print_result(f"  excluded: {name}")
    if report["urgent"]:
        print_result("  urgent: copied before the blobs of others")
    if report["sync_copies"]:
        print_result(
            f"  a push waits for {report['sync_copies']} copies of each blob, and fails after"
            f" {report['sync_seconds']} s"
        )
    for entry in report["excess"]:
        print_result(
            f"  over-replicated at {entry['location']}: {entry['blobs']} blobs"
            f" ({entry['bytes']} bytes), {entry['shared']} of them required there for others"
        )
