"""`atoll mirror sync`, `cancel`, `confirm-deletions` and `wait`: runs of mirrors."""

from __future__ import annotations

import click

from atoll.cli.commands import Command
from atoll.cli.context import CommandContext
from atoll.cli.mirror_output import cause_text, print_request
from atoll.cli.options import json_option
from atoll.cli.output import print_json, print_result, size_text
from atoll.cli.polling import (
    Pending,
    check_timeout,
    timeout_option,
    wait_for_end,
    wait_option,
)
from atoll.errors import UserError
from atoll.mirroring.mirror_records import CANCEL, SUCCESS, SYNC_NOW
from atoll.mirroring.status import MirrorStatus, MirrorStatuses, RunStatus
from atoll.names import RepositoryName
from atoll.services import Services

_REPOSITORY = click.argument("repository", metavar="NAMESPACE/REPOSITORY")
# More runs than finish between two polls.
_RUNS_READ = 100
_EXIT_CODES = {
    0: "The run succeeded.",
    1: "The run failed or was cancelled, or the timeout expired.",
}


@click.command(cls=Command, examples=["atoll mirror sync acme/app --wait"])
@_REPOSITORY
@wait_option
@timeout_option
@json_option
@click.pass_obj
def sync(
    context: CommandContext,
    *,
    repository: str,
    waits: bool,
    timeout: float | None,
    as_json: bool,
) -> None:
    """Request a run of a mirror.

    It starts at once, even if the mirror is disabled.
    """
    check_timeout(timeout, waits=waits)
    services, name = context.services(), RepositoryName.parse(repository)
    before = MirrorStatuses(services.database).one(name)
    services.mirrors.request_sync(name)
    if waits:
        _wait(services, before, timeout, as_json=as_json)
    else:
        print_request("repository", str(name), "run", "requested", as_json=as_json)


@click.command(cls=Command)
@_REPOSITORY
@json_option
@click.pass_obj
def cancel(context: CommandContext, repository: str, as_json: bool) -> None:
    """Cancel the requested or current run of a mirror.

    The next run on schedule is not affected.
    """
    name = RepositoryName.parse(repository)
    context.services().mirrors.request_cancel(name)
    print_request("repository", str(name), "run", "cancelled", as_json=as_json)


@click.command("confirm-deletions", cls=Command)
@_REPOSITORY
@json_option
@click.pass_obj
def confirm_deletions(context: CommandContext, repository: str, as_json: bool) -> None:
    """Permit the deletions that the last run refused.

    This also requests a run. A run deletes nothing if it would delete too many tags at once.
    `atoll mirror tags --state gone` lists the tags that the upstream no longer has.
    """
    name = RepositoryName.parse(repository)
    context.services().mirrors.confirm_deletions(name)
    print_request("repository", str(name), "run", "requested", as_json=as_json)


@click.command(
    cls=Command, exit_codes=_EXIT_CODES, examples=["atoll mirror wait acme/app --timeout 3600"]
)
@_REPOSITORY
@timeout_option
@json_option
@click.pass_obj
def wait(context: CommandContext, repository: str, timeout: float | None, as_json: bool) -> None:
    """Wait until the run of a mirror succeeds.

    This is the current or requested run. If there is none, a run is requested.
    """
    services, name = context.services(), RepositoryName.parse(repository)
    before = MirrorStatuses(services.database).one(name)
    if not _is_running(before) and before.sync_status != SYNC_NOW:
        services.mirrors.request_sync(name)
    _wait(services, before, timeout, as_json=as_json)


def _is_running(mirror: MirrorStatus) -> bool:
    return mirror.run is not None and mirror.run.outcome is None


def _wait(
    services: Services, before: MirrorStatus, timeout: float | None, *, as_json: bool
) -> None:
    """Wait for the run that was current or requested after BEFORE was read, and print it.

    Raises:
        UserError: It failed or was cancelled, or the timeout expired.
    """
    statuses = MirrorStatuses(services.database)
    name = RepositoryName(before.namespace, before.name)
    # The run that is waited for has this id, or a higher one.
    first = 0
    if before.run is not None:
        first = before.run.id if _is_running(before) else before.run.id + 1

    def query() -> RunStatus | Pending:
        found = statuses.one(name)
        run = _finished(statuses, found, first)
        if run is None and found.sync_status == CANCEL and not _is_running(found):
            raise UserError(f"the run of {name} was cancelled before it started")
        return run or Pending(_progress(found))

    run = wait_for_end(query, timeout)
    if as_json:
        print_json(run.as_dict())
    if run.outcome != SUCCESS:
        cause = cause_text(run.reason, run.message)
        raise UserError(
            f"the run of {name} ended with {run.outcome}" + (f": {cause}" * bool(cause))
        )
    if not as_json:
        print_result(
            f"{name}: {run.tags_total} tags, {run.tags_copied} copied, {run.tags_deleted} deleted,"
            f" {size_text(run.bytes_copied)} fetched"
        )


def _finished(statuses: MirrorStatuses, found: MirrorStatus, first: int) -> RunStatus | None:
    """Return the first finished run from the id FIRST on, None if there is none yet.

    A later run may have started meanwhile.
    """
    if found.run is None or found.run.id < first:
        return None
    runs = statuses.runs(RepositoryName(found.namespace, found.name), _RUNS_READ)
    oldest = min((one for one in runs if one.id >= first), key=lambda one: one.id)
    return None if oldest.outcome is None else oldest


def _progress(found: MirrorStatus) -> str:
    if found.run is None or not _is_running(found):
        return f"{found.repository} waits for a mirror process"
    run = found.run
    text = f"{found.repository}: {run.tags_pending} of {run.tags_total} tags pending"
    return f"{text} ({found.message})" if found.message else text
