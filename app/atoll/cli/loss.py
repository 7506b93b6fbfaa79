"""`atoll remove-location NAME --lost` and `atoll lost`: data loss with a store that is gone."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.progress import track

from atoll.cli.run import say
from atoll.errors import UserError
from atoll.placement.locations.life_cycle import LocationLifeCycle
from atoll.placement.locations.lost import Loss
from atoll.server.bundle import load_bundle_to_administer
from atoll.server.container import wire_services


def remove_lost(life_cycle: LocationLifeCycle, options: argparse.Namespace) -> int:
    """List the loss with a location, and remove the location if exactly that loss is accepted.

    A dry run with --accept-loss is refused whenever the removal would be.
    """
    if options.yes:
        raise UserError("--yes does not say how much may be lost; say it with --accept-loss")
    location: str = options.location
    loss = life_cycle.expected_loss(location)
    if not options.json:
        _print(loss, f"with {location}")
    removed = False
    try:
        if not options.dry_run or options.accept_loss is not None:
            life_cycle.require_store_lost(location, loss)
            accepted = _accepted(location, loss, options.accept_loss)
            life_cycle.require_accepted(location, loss, accepted)
        if not options.dry_run:
            _remove(life_cycle, location, loss)
            removed = True
    finally:
        if options.json:
            _print_json({"location": location, "removed": removed, **_report(loss)})
    if removed:
        say(
            f"{location} is removed, and {len(loss.blobs)} blobs are lost; `atoll lost` lists them"
            " until they are pushed again or not needed any more. Take its entry out of"
            " DISTRIBUTED_STORAGE_CONFIG at every site."
        )
    return 0


def show_lost(options: argparse.Namespace) -> int:
    """Print the blobs that were lost with locations, are used, and were not pushed again."""
    loss = wire_services(load_bundle_to_administer()).location_life_cycle.lost_blobs()
    if options.json:
        _print_json(_report(loss))
    else:
        _print(loss, "with locations that are gone")
    return 0


def _accepted(location: str, loss: Loss, option: int | None) -> int | None:
    """Return the number of blobs that the operator accepts to lose, by option or at a prompt."""
    if option is not None or not sys.stdin.isatty():
        return option
    count = len(loss.blobs)
    say(f"Type the number of blobs that are lost, {count}, to remove {location} for good:")
    answer = sys.stdin.readline().strip()
    return int(answer) if answer.isdecimal() else None


def _remove(life_cycle: LocationLifeCycle, location: str, loss: Loss) -> None:
    steps = life_cycle.declare_lost(location, loss)
    for _ in track(steps, "removing", total=None, console=Console(stderr=True), transient=True):
        continue


def _report(loss: Loss) -> dict[str, Any]:
    return {
        "blobs": len(loss.blobs),
        "bytes": loss.bytes,
        "uploads": loss.uploads,
        "repositories": loss.repositories,
        "lost_blobs": [asdict(blob) for blob in loss.blobs],
        "lost_images": [asdict(image) for image in loss.images],
    }


def _print_json(report: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(report) + "\n")


def _print(loss: Loss, where: str) -> None:
    """Print the complete list on standard output, so that it can be kept."""
    lines = [
        f"lost {where}: {len(loss.blobs)} blobs ({loss.bytes} bytes) of"
        f" {len(loss.repositories)} repositories, needed by {len(loss.images)} manifests"
    ]
    if loss.uploads:
        lines.append(f"{loss.uploads} uploads that have bytes there end; clients restart them")
    lines += [
        f"  {image.repository}@{image.digest}  {' '.join(image.tags) or '(no tag)'}"
        for image in loss.images
    ]
    lines += [
        f"  {blob.digest}  {blob.bytes} bytes  {' '.join(blob.repositories)}" for blob in loss.blobs
    ]
    sys.stdout.write("\n".join(lines) + "\n")
