"""`atoll mirror organization`: organizations that follow a namespace of another registry."""

from __future__ import annotations

from collections.abc import Sequence

import click

from atoll.cli.commands import Group
from atoll.cli.context import CommandContext
from atoll.cli.mirror_organization_plan import plan
from atoll.cli.mirror_output import (
    cause_text,
    date_text,
    print_fields,
    print_request,
    print_verification,
    state_cell,
    success_text,
)
from atoll.cli.options import json_option
from atoll.cli.output import (
    Cell,
    alarm,
    duration_text,
    print_json,
    print_result,
    print_table,
)
from atoll.cli.polling import (
    Pending,
    check_timeout,
    timeout_option,
    wait_for_end,
    wait_option,
)
from atoll.errors import UserError
from atoll.mirroring.mirror_records import FAIL, NEVER_RUN, SUCCESS, SYNC_NOW, SYNCING
from atoll.mirroring.organizations.organization_status import (
    REPOSITORY_STATUSES,
    OrganizationStatus,
    OrganizationStatuses,
)
from atoll.mirroring.organizations.records import SKIP
from atoll.services import Services

_ORGANIZATION = click.argument("organization", metavar="ORGANIZATION")


@click.group("organization", cls=Group)
def organizations() -> None:
    """Manage the mirrors of namespaces of other registries."""


organizations.add_command(plan)


@organizations.command("list", examples=["atoll mirror organization list --failed"])
@click.option(
    "--failed", is_flag=True, help="List only those whose discovery or repositories failed."
)
@json_option
@click.pass_obj
def list_mirrors(context: CommandContext, *, failed: bool, as_json: bool) -> None:
    """List all mirrored organizations."""
    found = OrganizationStatuses(context.services().database).all()
    found = [one for one in found if not failed or _has_failed(one)]
    if as_json:
        print_json([one.as_dict() for one in found])
    else:
        print_organizations(found)


def print_organizations(found: Sequence[OrganizationStatus]) -> None:
    """Print a table of mirrored organizations."""
    rows: list[list[Cell]] = [
        [
            one.organization,
            one.reference,
            state_cell(one.sync_status, is_enabled=one.is_enabled),
            sum(one.repositories.values()) - one.repositories[SKIP],
            _failing(one),
            success_text(one.last_success_at, one.seconds_without_success),
        ]
        for one in found
    ]
    headings = ["organization", "upstream", "state", "mirrored", "failed", "last success"]
    print_table(headings, rows, empty="No organization is a mirror.")


@organizations.command()
@_ORGANIZATION
@json_option
@click.pass_obj
def show(context: CommandContext, organization: str, as_json: bool) -> None:
    """Show a mirrored organization and its last discovery."""
    found = OrganizationStatuses(context.services().database).one(organization)
    if as_json:
        print_json(found.as_dict())
        return
    counts = [f"{count} {status}" for status, count in found.repositories.items() if count]
    fields = {
        "registry": found.kind,
        "enabled": "yes" if found.is_enabled else "no",
        "filters": ", ".join(found.filters) or "all repositories",
        "state": found.sync_status,
        "reason": found.reason or "-",
        "message": found.message or "-",
        "interval": duration_text(found.interval),
        "next run": date_text(found.next_at),
        "retries left": str(found.retries_remaining),
        "last success": success_text(found.last_success_at, found.seconds_without_success),
        "repositories": ", ".join(counts) or "none",
    }
    print_fields(f"{found.organization} mirrors {found.reference} as {found.robot}", fields)


@organizations.command(examples=["atoll mirror organization repositories acme --status FAIL"])
@_ORGANIZATION
@click.option(
    "--status", type=click.Choice(REPOSITORY_STATUSES), help="List only those with this status."
)
@json_option
@click.pass_obj
def repositories(
    context: CommandContext, organization: str, status: str | None, as_json: bool
) -> None:
    """List the repositories that the upstream lists, or listed."""
    statuses = OrganizationStatuses(context.services().database)
    statuses.one(organization)
    _, found = statuses.repositories(organization, status)
    if as_json:
        print_json([one.as_dict() for one in found])
        return
    rows: list[list[Cell]] = [
        [
            one.name,
            alarm(one.status) if one.status == FAIL else one.status,
            date_text(one.last_sync_at),
            one.message or "-",
        ]
        for one in found
    ]
    headings = ["repository", "status", "last run", "message"]
    print_table(headings, rows, empty="There are no such repositories.")


@organizations.command(examples=["atoll mirror organization sync acme --wait"])
@_ORGANIZATION
@wait_option
@timeout_option
@json_option
@click.pass_obj
def sync(
    context: CommandContext,
    *,
    organization: str,
    waits: bool,
    timeout: float | None,
    as_json: bool,
) -> None:
    """Request a discovery, and then a run of each repository.

    It starts at once, even if the mirror is disabled.
    """
    check_timeout(timeout, waits=waits)
    services = context.services()
    services.organization_mirrors.request_sync(organization)
    if waits:
        _wait(services, organization, timeout, as_json=as_json)
    else:
        print_request("organization", organization, "discovery", "requested", as_json=as_json)


@organizations.command()
@_ORGANIZATION
@json_option
@click.pass_obj
def cancel(context: CommandContext, organization: str, as_json: bool) -> None:
    """Cancel the discovery and the runs of all repositories.

    The next discovery on schedule is not affected.
    """
    context.services().organization_mirrors.request_cancel(organization)
    print_request("organization", organization, "discovery", "cancelled", as_json=as_json)


@organizations.command(
    exit_codes={
        0: "The repositories of the upstream could be listed.",
        1: "They could not; the output has the reason.",
    }
)
@_ORGANIZATION
@json_option
@click.pass_obj
def verify(context: CommandContext, organization: str, as_json: bool) -> int:
    """Connect to the upstream and list its repositories.

    The credentials of the mirror are used. Nothing is changed.
    """
    services = context.services()
    mirror = services.organization_mirrors.find(organization)
    success, message = services.organization_verification.verify(mirror)
    fields = {"success": success, "message": message}
    return print_verification(organization, fields, success=success, as_json=as_json)


@organizations.command(
    exit_codes={
        0: "The discovery and the runs of all repositories succeeded.",
        1: "One failed or was cancelled, or the timeout expired.",
    },
    examples=["atoll mirror organization wait acme --timeout 3600"],
)
@_ORGANIZATION
@timeout_option
@json_option
@click.pass_obj
def wait(context: CommandContext, organization: str, timeout: float | None, as_json: bool) -> None:
    """Wait until the discovery and all runs succeed.

    The discovery is the current or requested one. If there is none, one is requested.
    """
    services = context.services()
    if not _is_discovering(OrganizationStatuses(services.database).one(organization)):
        services.organization_mirrors.request_sync(organization)
    _wait(services, organization, timeout, as_json=as_json)


def _wait(services: Services, organization: str, timeout: float | None, *, as_json: bool) -> None:
    """Wait for the current or requested discovery and the runs after it, and print the result.

    Raises:
        UserError: The discovery or a run failed or was cancelled, or the timeout expired.
    """
    statuses = OrganizationStatuses(services.database)

    def query() -> OrganizationStatus | Pending:
        found = statuses.one(organization)
        text = _progress(found)
        return found if text is None else Pending(text)

    found = wait_for_end(query, timeout)
    if as_json:
        print_json(found.as_dict())
    if found.sync_status != SUCCESS:
        cause = cause_text(found.reason, found.message)
        raise UserError(f"the discovery of {organization} ended with {found.sync_status}: {cause}")
    if failed := found.repositories[FAIL]:
        raise UserError(
            f"{failed} repositories of {organization} failed; 'atoll mirror organization"
            f" repositories {organization} --status FAIL' lists them"
        )
    if not as_json:
        print_result(f"{organization}: {found.message}")


def _is_discovering(found: OrganizationStatus) -> bool:
    return found.sync_status in {SYNC_NOW, SYNCING}


def _pending(found: OrganizationStatus) -> int:
    """Return the number of repositories whose run is requested, due or in progress."""
    counts = found.repositories
    first_runs = counts[NEVER_RUN] if found.is_enabled else 0
    return counts[SYNC_NOW] + counts[SYNCING] + first_runs


def _progress(found: OrganizationStatus) -> str | None:
    """Return what is waited for; None if the discovery failed or all runs ended."""
    name = found.organization
    if found.sync_status == SYNC_NOW:
        return f"{name} waits for a mirror process"
    if found.sync_status == SYNCING:
        text = f"the repositories of {name} are being discovered"
        return f"{text} ({found.message})" if found.message else text
    if found.sync_status != SUCCESS or not _pending(found):
        return None
    total = sum(found.repositories.values()) - found.repositories[SKIP]
    return f"{name}: {_pending(found)} of {total} repositories pending"


def _has_failed(found: OrganizationStatus) -> bool:
    return found.sync_status == FAIL or found.repositories[FAIL] > 0


def _failing(found: OrganizationStatus) -> Cell:
    count = found.repositories[FAIL]
    return alarm(str(count)) if count else count
