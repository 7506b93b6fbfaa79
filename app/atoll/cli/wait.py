"""`atoll wait`: until an image, or everything, is where it must be."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator

from atoll.cli.polling import look_later
from atoll.cli.run import say
from atoll.errors import UserError
from atoll.names import InvalidName, RepositoryName, parse_tag
from atoll.placement.rules import targets
from atoll.placement.upkeep.backfill import backfill
from atoll.placement.upkeep.completeness import Completeness
from atoll.placement.upkeep.lag import Lag, lag
from atoll.registry.errors import ManifestUnknown
from atoll.registry.image_completeness import ImageCompleteness
from atoll.server.bundle import load_bundle_to_administer, require_replication
from atoll.server.container import wire_services
from atoll.services import Services


def wait(options: argparse.Namespace) -> int:
    """Wait; 0 when all is there, UserError when the time is up or it can never be."""
    graph = wire_services(load_bundle_to_administer())
    require_replication(graph.bundle)
    if options.image is None:
        report = _wait_for_everything(graph, options)
    else:
        report = _wait_for_image(graph, options)
    if options.json:
        sys.stdout.write(json.dumps(report) + "\n")
    return 0


def _wait_for_image(graph: Services, options: argparse.Namespace) -> dict[str, object]:
    name, reference = _parse(options.image)
    completeness = ImageCompleteness(graph.database, graph.bundle.required_locations)
    told = ""

    def look() -> Completeness:
        try:
            return completeness.of(name, reference)
        except ManifestUnknown as error:
            raise UserError(str(error)) from error

    found = look()
    for _ in _until(options.timeout):
        lacking = _lacking(found, options.location)
        if not lacking:
            where = options.location or [one.location for one in found.locations if one.required]
            say(f"{options.image} is complete at {', '.join(where)}")
            return found.as_dict()
        if lacking != told:
            say(lacking)
            told = lacking
        found = look_later(look)
    if options.json:
        sys.stdout.write(json.dumps(found.as_dict()) + "\n")
    raise UserError(f"the time is up: {_lacking(found, options.location)}")


def _lacking(found: Completeness, locations: list[str] | None) -> str:
    """Return what is missing, or nothing. Raises UserError for what will never be."""
    known = {one.location: one for one in found.locations}
    for location in locations or ():
        if location not in known:
            raise UserError(f"there is no location '{location}'; known are: {', '.join(known)}")
        if not known[location].required and not known[location].complete:
            raise UserError(
                f"nothing is copied to '{location}' for this repository; it must be at:"
                f" {', '.join(one.location for one in found.locations if one.required)}"
            )
    return "; ".join(
        f"{one.location} lacks {one.missing_blobs} of {one.blobs} blobs ({one.missing_bytes} bytes)"
        for one in found.locations
        if (one.location in locations if locations else one.required) and not one.complete
    )


def _wait_for_everything(graph: Services, options: argparse.Namespace) -> dict[str, object]:
    required = graph.bundle.required_locations
    wanted = targets(graph.database, required)
    for location in options.location or ():
        if location not in wanted:
            raise UserError(
                f"'{location}' is no location where blobs must be; those are {', '.join(wanted)}"
            )
    wanted = options.location or wanted

    def look() -> list[Lag]:
        return [entry for entry in lag(graph.database) if entry.location in wanted]

    told, found = "", look()
    for _ in _until(options.timeout):
        lacking = _to_copy(found)
        # The tasks tell how it goes; only a look at all blobs tells that it is done.
        if not lacking and not _queue_missing(graph, wanted):
            say(f"every blob that must be at {', '.join(wanted)} is there")
            return {"complete": True, "locations": [entry.as_dict() for entry in found]}
        if lacking != told:
            say(lacking)
            told = lacking
        found = look_later(look)
    if options.json:
        report = {"complete": False, "locations": [entry.as_dict() for entry in found]}
        sys.stdout.write(json.dumps(report) + "\n")
    raise UserError(
        f"the time is up: {_to_copy(found) or 'copies were still missing'}; see `atoll status`"
    )


def _queue_missing(graph: Services, wanted: list[str]) -> bool:
    """Queue what is missing without a task; tell whether there was any."""
    steps = backfill(graph.patient_database, graph.bundle.required_locations, wanted=wanted)
    return sum(len(step.found) for step in steps) > 0


def _to_copy(found: list[Lag]) -> str:
    return "; ".join(
        f"{entry.location} lacks {entry.pending_blobs} blobs ({entry.pending_bytes} bytes)"
        for entry in found
        if entry.pending_blobs
    )


def _until(timeout: float | None) -> Iterator[None]:
    """Yield again and again until the time is up, and once at least."""
    deadline = None if timeout is None else time.monotonic() + timeout
    yield
    while deadline is None or time.monotonic() < deadline:
        yield


def _parse(image: str) -> tuple[RepositoryName, str]:
    """Return the repository and the tag or digest that NAMESPACE/REPOSITORY:TAG names."""
    name, at, digest = image.partition("@")
    if at:
        reference = digest
    else:
        name, colon, reference = image.rpartition(":")
        if not colon:
            raise UserError(f"'{image}' has no tag; write NAMESPACE/REPOSITORY:TAG")
    try:
        return RepositoryName.parse(name), reference if at else parse_tag(reference)
    except InvalidName as error:
        raise UserError(str(error)) from error
