"""`atoll wait`: wait until an image or all blobs are replicated."""

from __future__ import annotations

import time
from typing import Protocol

import click

from atoll.cli.commands import Command
from atoll.cli.context import CommandContext
from atoll.cli.images import parse_image
from atoll.cli.options import json_option
from atoll.cli.output import note, print_json, print_result
from atoll.cli.polling import poll
from atoll.errors import UserError
from atoll.placement.rules import targets
from atoll.placement.upkeep.backfill import backfill
from atoll.placement.upkeep.completeness import Completeness
from atoll.placement.upkeep.lag import Lag, lag
from atoll.registry.image_completeness import ImageCompleteness
from atoll.server.bundle import require_replication
from atoll.services import Services


@click.command(
    cls=Command,
    exit_codes={
        0: "All copies exist.",
        1: "The timeout expired, or a location does not require the image.",
    },
    examples=["atoll wait acme/app:1.2 --location eustorage --timeout 600", "atoll wait"],
)
@click.argument("image", metavar="[NAMESPACE/REPOSITORY:TAG]", required=False)
@click.option(
    "--location",
    "locations",
    multiple=True,
    metavar="NAME",
    help="Wait for this location only; repeatable. Default: all required locations.",
)
@click.option("--timeout", type=float, metavar="SECONDS", help="Fail after this time.")
@json_option
@click.pass_obj
def wait(
    context: CommandContext,
    image: str | None,
    locations: tuple[str, ...],
    timeout: float | None,
    as_json: bool,
) -> int:
    """Wait until an image or all blobs are replicated.

    NAMESPACE/REPOSITORY@DIGEST selects an image by its digest. An index includes all images that
    it lists and that the repository has. Without an argument, the command waits for all blobs.
    """
    services = context.services()
    require_replication(services.bundle)
    condition: _WaitCondition
    if image is None:
        condition = _AllReplicated(services, list(locations))
    else:
        condition = _ImageReplicated(services, image, list(locations))
    complete = _wait(condition, timeout)
    if as_json:
        print_json(condition.report(complete=complete))
    if not complete:
        raise UserError(f"timed out: {condition.timed_out()}")
    if not as_json:
        print_result(condition.done())
    return 0


class _WaitCondition(Protocol):
    """Something to wait for."""

    def missing(self) -> str:
        """Query once; return a description of the missing copies, empty if there are none."""

    def report(self, *, complete: bool) -> dict[str, object]:
        """Return the result of the last query for JSON."""

    def timed_out(self) -> str:
        """Return a description of the copies that were missing at the last query."""

    def done(self) -> str:
        """Return a message for the complete state."""


def _wait(condition: _WaitCondition, timeout: float | None) -> bool:
    """Poll until no copy is missing or the timeout expires, and note each change.

    Returns:
        Whether no copy is missing.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    noted, missing = "", condition.missing()
    while missing:
        if missing != noted:
            note(missing)
            noted = missing
        expired = deadline is not None and time.monotonic() >= deadline
        missing = poll(condition.missing)
        if missing and expired:
            return False
    return True


class _ImageReplicated:
    def __init__(self, services: Services, image: str, locations: list[str]) -> None:
        self._completeness = ImageCompleteness(
            services.database, services.bundle.required_locations
        )
        self._image = image
        self._name, self._reference = parse_image(image)
        self._locations = locations
        self._found: Completeness
        self._missing = ""

    def missing(self) -> str:
        self._found = self._completeness.of(self._name, self._reference)
        self._missing = _missing_of(self._found, self._locations)
        return self._missing

    def report(self, *, complete: bool) -> dict[str, object]:
        del complete
        return self._found.as_dict()

    def timed_out(self) -> str:
        return self._missing

    def done(self) -> str:
        required = [one.location for one in self._found.locations if one.required]
        absent = self._found.absent_manifests
        return f"{self._image} is complete at {', '.join(self._locations or required)}" + (
            f", except for {absent} listed images that the repository does not have"
            if absent
            else ""
        )


def _missing_of(found: Completeness, locations: list[str]) -> str:
    """Return a sentence about an image's missing copies, empty if there are none.

    Raises:
        UserError: one of the locations does not exist or does not require the image.
    """
    known = {one.location: one for one in found.locations}
    for location in locations:
        if location not in known:
            raise UserError(f"there is no location '{location}'; known are: {', '.join(known)}")
        if not known[location].required and not known[location].complete:
            raise UserError(
                f"'{location}' is not required for this repository; the required locations are:"
                f" {', '.join(one.location for one in found.locations if one.required)}"
            )
    return "; ".join(
        f"{one.location} lacks {one.missing_blobs} of {one.blobs} blobs ({one.missing_bytes} bytes)"
        for one in found.locations
        if (one.location in locations if locations else one.required) and not one.complete
    )


class _AllReplicated:
    def __init__(self, services: Services, locations: list[str]) -> None:
        self._services = services
        required = targets(services.database, services.bundle.required_locations)
        for location in locations:
            if location not in required:
                raise UserError(
                    f"no blobs are required at '{location}'; the required locations are:"
                    f" {', '.join(required)}"
                )
        self._wanted = locations or required
        self._found: list[Lag] = []

    def missing(self) -> str:
        self._found = [
            entry for entry in lag(self._services.database) if entry.location in self._wanted
        ]
        # The queue shows the progress; only a pass over all blobs proves that no copy is missing.
        if not (missing := _to_copy(self._found)) and self._queue_missing():
            missing = "missing copies were found and queued"
        return missing

    def report(self, *, complete: bool) -> dict[str, object]:
        return {"complete": complete, "locations": [entry.as_dict() for entry in self._found]}

    def timed_out(self) -> str:
        return f"{_to_copy(self._found) or 'copies were still missing'}; see `atoll status`"

    def done(self) -> str:
        return f"all required copies exist at {', '.join(self._wanted)}"

    def _queue_missing(self) -> bool:
        """Queue missing copies that have no task, and return whether there were any."""
        steps = backfill(
            self._services.batch_database,
            self._services.bundle.required_locations,
            wanted=self._wanted,
        )
        return sum(len(step.found) for step in steps) > 0


def _to_copy(found: list[Lag]) -> str:
    return "; ".join(
        f"{entry.location} lacks {entry.pending_blobs} blobs ({entry.pending_bytes} bytes)"
        for entry in found
        if entry.pending_blobs
    )
