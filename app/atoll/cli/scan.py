"""`atoll scan`: security scans of images by Clair."""

from __future__ import annotations

from typing import Any

import click

from atoll.cli.commands import Group
from atoll.cli.context import CommandContext
from atoll.cli.images import parse_image
from atoll.cli.options import json_option
from atoll.cli.output import (
    Cell,
    alarm,
    duration_text,
    print_items,
    print_json,
    print_result,
    print_table,
)
from atoll.cli.polling import Pending, timeout_option, wait_for_end
from atoll.errors import UserError
from atoll.exit_codes import VULNERABLE
from atoll.scanning.backfill import ScanBackfill
from atoll.scanning.clair.client import ClairClient
from atoll.scanning.clair.errors import ScannerError
from atoll.scanning.image_scans import ImageScan, image_scans
from atoll.scanning.scan_states import FAILED, LAYER_TOO_LARGE, SCANNED
from atoll.scanning.scanning import Scanning
from atoll.scanning.severities import Severity
from atoll.services import Services

_IMAGE = click.argument("image", metavar="NAMESPACE/REPOSITORY:TAG")
# Severities that have a column.
_COLUMNS = (Severity.CRITICAL, Severity.HIGH, Severity.MEDIUM, Severity.LOW)
_SEVERITIES = [one.label.lower() for one in sorted(Severity, reverse=True)]


@click.group(cls=Group)
def scan() -> None:
    """Manage the security scans of images."""


@scan.command(examples=["atoll scan status", "atoll scan status acme/app:1.2"])
@click.argument("image", metavar="[NAMESPACE/REPOSITORY:TAG]", required=False)
@json_option
@click.pass_obj
def status(context: CommandContext, image: str | None, *, as_json: bool) -> None:
    """Show the scanners and the queue, or the scan of an image."""
    services = context.services()
    if image is None:
        _show_queue(services, _scanning(services), as_json=as_json)
        return
    found = _scans(services, image)
    if as_json:
        print_json([one.as_dict() for one in found])
    else:
        _print_scans(found)


@scan.command(examples=["atoll scan retry acme/app:1.2"])
@_IMAGE
@json_option
@click.pass_obj
def retry(context: CommandContext, image: str, *, as_json: bool) -> None:
    """Scan an image again.

    Images in progress are left alone.
    """
    services = context.services()
    digests = [one.digest for one in _scans(services, image)]
    requested = _scanning(services).scans.request_again(digests)
    if not requested:
        raise UserError(f"{image} is being scanned, or its scan was not requested yet")
    if as_json:
        print_json({"images": sorted(requested)})
    else:
        print_result(f"{len(requested)} images are scanned again; see `atoll scan status {image}`")


@scan.command(
    exit_codes={
        0: "The image was scanned, and has no vulnerability of the given severity.",
        1: "The scan failed, or the timeout expired.",
        VULNERABLE: "The image has a vulnerability of the given severity, or a worse one.",
    },
    examples=["atoll scan wait acme/app:1.2 --fail-on high --timeout 600"],
)
@_IMAGE
@click.option(
    "--fail-on",
    type=click.Choice(_SEVERITIES),
    help=f"Exit with status {VULNERABLE} if there is a vulnerability this severe.",
)
@timeout_option
@json_option
@click.pass_obj
def wait(
    context: CommandContext,
    image: str,
    fail_on: str | None,
    timeout: float | None,
    *,
    as_json: bool,
) -> int:
    """Wait until an image is scanned.

    An image that cannot be scanned, such as an artifact, has no vulnerability.
    """
    services = context.services()
    _scanning(services)
    found = wait_for_end(lambda: _ended(_scans(services, image)), timeout)
    if as_json:
        print_json([one.as_dict() for one in found])
    else:
        _print_scans(found)
    failed = [one for one in found if one.status in {FAILED, LAYER_TOO_LARGE}]
    if failed:
        raise UserError(f"{failed[0].digest} was not scanned: {failed[0].reason}")
    return VULNERABLE if fail_on and _is_vulnerable(found, Severity.parse(fail_on)) else 0


def _scanning(services: Services) -> Scanning:
    """Return the scanners. Raises UserError if the bundle has none."""
    if services.scanning is None:
        raise UserError("security scanning is disabled; set FEATURE_SECURITY_SCANNER: true")
    return services.scanning


def _scans(services: Services, image: str) -> list[ImageScan]:
    """Return the scans of an image. Raises UserError if there is no such image."""
    repository, reference = parse_image(image)
    found = image_scans(services.database, repository, reference)
    if not found:
        raise UserError(f"there is no image '{image}'")
    return found


def _ended(found: list[ImageScan]) -> list[ImageScan] | Pending:
    """Return the scans if all have ended; a scanned image without counts has no report yet."""
    waiting = [one for one in found if one.is_waiting or (one.status == SCANNED and not one.counts)]
    if not waiting:
        return found
    return Pending(f"{len(waiting)} of {len(found)} images wait for their scan")


def _is_vulnerable(found: list[ImageScan], minimum: Severity) -> bool:
    return any(one.counts is not None and one.counts.at_least(minimum) for one in found)


def _print_scans(found: list[ImageScan]) -> None:
    headings = ["image", "status", *(one.label.lower() for one in _COLUMNS), "reason"]
    print_table(headings, [_scan_row(one) for one in found])


def _scan_row(one: ImageScan) -> list[Cell]:
    status = alarm(one.status) if one.status == FAILED else one.status
    numbers: list[Cell] = (
        ["-"] * len(_COLUMNS)
        if one.counts is None
        else [one.counts.number(severity) for severity in _COLUMNS]
    )
    return [one.digest.partition(":")[2][:12], status, *numbers, one.reason or "-"]


def _show_queue(services: Services, scanning: Scanning, *, as_json: bool) -> None:
    scanners = [_scanner(client) for client in scanning.clairs.clients]
    figures = scanning.scans.queue_figures()
    numbers = {state.name.lower(): number for state, number in figures.numbers.items()}
    backfill = ScanBackfill(services.database).status()
    document: dict[str, Any] = {
        "scanners": scanners,
        "images": numbers,
        "oldest_seconds": figures.oldest_seconds,
        "backfill_complete": backfill is not None and backfill.complete,
    }
    if as_json:
        print_json(document)
        return
    rows: list[list[Cell]] = [
        [one["location"], "up" if one["up"] else alarm("down"), one["cause"] or "-"]
        for one in scanners
    ]
    print_table(["scanner", "state", "cause"], rows)
    print_table(["images", "number"], [[name, number] for name, number in numbers.items()])
    items = []
    if figures.oldest_seconds:
        items.append(f"the oldest image has waited for {duration_text(figures.oldest_seconds)}")
    if not document["backfill_complete"]:
        items.append("scans of existing images are still being requested")
    if not any(one["up"] for one in scanners):
        items.append("no scanner responds; images wait and keep their state")
    if items:
        print_items("Notes", items)


def _scanner(client: ClairClient) -> dict[str, Any]:
    """Return whether a scanner responds."""
    try:
        client.index_state()
    except ScannerError as error:
        return {"location": client.location, "up": False, "cause": str(error)}
    return {"location": client.location, "up": True, "cause": None}
