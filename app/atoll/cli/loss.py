"""`atoll remove-location NAME --lost` and `atoll lost`: what went with a store for good."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.progress import track

from atoll.cli.run import CommandFailed, say
from atoll.cluster.instances import Instances
from atoll.placement.locations import remove as removal
from atoll.placement.locations.drain import LocationNeeded, LocationUnknown
from atoll.placement.locations.lost import Loss, LossDiffers, loss_with, lost_before
from atoll.registry.blobs import cache_key
from atoll.server.bundle import load_bundle_to_administer
from atoll.server.container import wire_services
from atoll.services import Services

# Digests that the cache is told at once.
_FORGOTTEN = 1000


def remove_lost(graph: Services, options: argparse.Namespace) -> int:
    """List what is lost with a location, and remove it if exactly that is accepted.

    The store is not asked for anything. A dry run with --accept-loss refuses what this would.
    """
    if options.yes:
        raise CommandFailed("--yes does not say how much may be lost; say it with --accept-loss")
    location: str = options.location
    try:
        removal.check_loss(graph.patient_database, location)
    except (LocationUnknown, LocationNeeded) as error:
        raise CommandFailed(str(error)) from error
    found = loss_with(graph.patient_database, location)
    if not options.json:
        _tell(found, f"with {location}")
    removed = False
    try:
        if not options.dry_run or options.accept_loss is not None:
            _require_yes(graph, location, found, options.accept_loss)
        if not options.dry_run:
            _remove(graph, location, found)
            removed = True
    except (LocationNeeded, LossDiffers) as error:
        raise CommandFailed(str(error)) from error
    finally:
        if options.json:
            _print_json({"location": location, "removed": removed, **_report(found)})
    if removed:
        say(
            f"{location} is removed, and {len(found.blobs)} blobs are lost; `atoll lost` shows them"
            " until they are pushed again or not needed any more. Take its entry out of"
            " DISTRIBUTED_STORAGE_CONFIG at every site."
        )
    return 0


def show_lost(options: argparse.Namespace) -> int:
    """Print what was lost with locations, is needed, and was not pushed again."""
    found = lost_before(wire_services(load_bundle_to_administer()).patient_database)
    if options.json:
        _print_json(_report(found))
    else:
        _tell(found, "with locations that are gone")
    return 0


def _require_yes(graph: Services, location: str, found: Loss, accepted: int | None) -> None:
    """Raise CommandFailed unless somebody says yes to what is lost."""
    seen = Instances(graph.database).reachability(location)
    if seen.reachable_from and found.good:
        raise CommandFailed(
            f"the store of '{location}' answers {', '.join(seen.reachable_from)}, and {found.good}"
            " of these blobs are good there, by all that is known: copy them, atoll drain"
            f" {location} --wait. If they are not there: atoll verify --location {location}"
            " --heal, then this again. Nothing was changed."
        )
    count = len(found.blobs)
    if accepted is None and sys.stdin.isatty():
        say(f"Type the number of blobs that are lost, {count}, to remove {location} for good:")
        answer = sys.stdin.readline().strip()
        accepted = int(answer) if answer.isdecimal() else None
    if accepted is None:
        raise CommandFailed(
            f"nothing was changed; to lose these {count} blobs and remove '{location}' say"
            f" --accept-loss {count}"
        )
    if accepted != count:
        raise LossDiffers(
            f"{count} blobs would be lost with '{location}', not {accepted}; nothing was changed"
        )


def _remove(graph: Services, location: str, found: Loss) -> None:
    steps = removal.remove_location(
        graph.patient_database, location, accepted_loss=len(found.blobs)
    )
    for _ in track(steps, "removing", total=None, console=Console(stderr=True), transient=True):
        continue
    for start in range(0, len(found.blobs), _FORGOTTEN):
        some = found.blobs[start : start + _FORGOTTEN]
        graph.redis.delete(*(cache_key(blob.digest) for blob in some))
    # Its instances may have ended without a word.
    Instances(graph.database).forget_site(location)


def _report(found: Loss) -> dict[str, Any]:
    return {
        "blobs": len(found.blobs),
        "bytes": found.bytes,
        "uploads": found.uploads,
        "repositories": found.repositories,
        "lost_blobs": [asdict(blob) for blob in found.blobs],
        "lost_images": [asdict(image) for image in found.images],
    }


def _print_json(report: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(report) + "\n")


def _tell(found: Loss, where: str) -> None:
    """Print all of it on standard output, so that it can be kept."""
    lines = [
        f"lost {where}: {len(found.blobs)} blobs ({found.bytes} bytes) of"
        f" {len(found.repositories)} repositories, needed by {len(found.images)} manifests"
    ]
    if found.uploads:
        lines.append(f"{found.uploads} uploads end that have bytes there; clients begin them again")
    lines += [
        f"  {image.repository}@{image.digest}  {' '.join(image.tags) or '(no tag)'}"
        for image in found.images
    ]
    lines += [
        f"  {blob.digest}  {blob.bytes} bytes  {' '.join(blob.repositories)}"
        for blob in found.blobs
    ]
    sys.stdout.write("\n".join(lines) + "\n")
