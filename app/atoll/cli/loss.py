"""Data loss with a store that is gone: `atoll locations remove NAME --lost`, `locations lost`."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

import click

from atoll.cli.commands import Command
from atoll.cli.context import CommandContext
from atoll.cli.options import json_option
from atoll.cli.output import ask, print_json, print_result, progress
from atoll.placement.locations.life_cycle import LocationLifeCycle
from atoll.placement.locations.lost import Loss


@click.command(cls=Command)
@json_option
@click.pass_obj
def lost(context: CommandContext, *, as_json: bool) -> None:
    """List blobs that were lost with removed locations.

    A blob leaves the list when it is pushed again, or when no image uses it.
    """
    loss = context.services().location_life_cycle.lost_blobs()
    if as_json:
        print_json(_as_json(loss))
    else:
        _print(loss, "with locations that are gone")


def remove_lost(
    life_cycle: LocationLifeCycle,
    location: str,
    *,
    dry_run: bool,
    accept_loss: int | None,
    as_json: bool,
) -> None:
    """List the loss with a location, and remove the location if exactly that loss is accepted.

    A dry run with an accepted loss is refused whenever the removal would be.
    """
    loss = life_cycle.expected_loss(location)
    if not as_json:
        _print(loss, f"with {location}")
    removed = False
    try:
        if not dry_run or accept_loss is not None:
            life_cycle.require_store_lost(location, loss)
            accepted = _accepted(location, loss, accept_loss)
            life_cycle.require_accepted(location, loss, accepted)
        if not dry_run:
            with progress("removing") as advance:
                for done, _ in enumerate(life_cycle.declare_lost(location, loss), start=1):
                    advance(done, None)
            removed = True
    finally:
        if as_json:
            print_json({"location": location, "removed": removed, **_as_json(loss)})
    if removed and not as_json:
        print_result(
            f"{location} is removed, and {len(loss.blobs)} blobs are lost; `atoll lost` lists them"
            " until they are pushed again or no longer used. Take its entry out of"
            " DISTRIBUTED_STORAGE_CONFIG at every site."
        )


def _accepted(location: str, loss: Loss, option: int | None) -> int | None:
    """Return the number of blobs that the operator accepts to lose, by option or at a prompt."""
    if option is not None or not sys.stdin.isatty():
        return option
    count = len(loss.blobs)
    answer = ask(f"Type the number of blobs that are lost, {count}, to remove {location}: ")
    return int(answer) if answer and answer.isdecimal() else None


def _as_json(loss: Loss) -> dict[str, Any]:
    return {
        "blobs": len(loss.blobs),
        "bytes": loss.bytes,
        "uploads": loss.uploads,
        "repositories": loss.repositories,
        "lost_blobs": [asdict(blob) for blob in loss.blobs],
        "lost_images": [asdict(image) for image in loss.images],
    }


def _print(loss: Loss, where: str) -> None:
    """Print the complete list on standard output, so that it can be stored."""
    print_result(
        f"lost {where}: {len(loss.blobs)} blobs ({loss.bytes} bytes) of"
        f" {len(loss.repositories)} repositories, used by {len(loss.images)} manifests"
    )
    if loss.uploads:
        print_result(f"{loss.uploads} uploads have bytes there and end; clients restart them")
    for image in loss.images:
        print_result(f"  {image.repository}@{image.digest}  {' '.join(image.tags) or '(no tag)'}")
    for blob in loss.blobs:
        print_result(f"  {blob.digest}  {blob.bytes} bytes  {' '.join(blob.repositories)}")
