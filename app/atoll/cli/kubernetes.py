"""`atoll kubernetes`: inventories for sites on clusters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

import click

from atoll import exit_codes
from atoll.cli.commands import Group
from atoll.cli.options import json_option
from atoll.cli.output import print_items, print_json, print_result
from atoll.errors import UserError
from atoll.kubernetes.bundle_directory import BundleDirectory
from atoll.kubernetes.conversion import convert as convert_files


@click.group(cls=Group)
def kubernetes() -> None:
    """Convert registries of Quay's Operator."""


@kubernetes.command(
    exit_codes={
        0: "The inventory is complete, except for the image.",
        1: "Something cannot be converted; standard error lists it.",
    },
    examples=[
        "atoll kubernetes convert us.yaml eu.yaml --bundle bundle > clusters.yml",
        "atoll kubernetes convert registries.yaml --bundle bundle --json",
    ],
)
@click.argument(
    "files", metavar="FILE...", nargs=-1, required=True, type=click.File(encoding="utf-8")
)
@click.option(
    "--bundle",
    required=True,
    metavar="DIR",
    help="The directory of the bundle, as oc extract writes it.",
)
@json_option
def convert(files: Sequence[TextIO], bundle: str, as_json: bool) -> int:
    """Convert QuayRegistry files to inventory variables.

    Prints the group atoll_kubernetes with a host for each QuayRegistry, which is named after its
    file. Standard error lists problems, and differences from the Operator. Secrets of the bundle
    are not printed: variables refer to its files. If DIR is relative, they refer to that directory
    beside the file of the inventory.
    """
    result = convert_files({file.name: _read(file) for file in files}, BundleDirectory(bundle))
    if as_json:
        print_json(result.as_dict())
    else:
        print_result(result.as_yaml())
        for title, found in (("Problems:", result.problems), ("Notes:", result.notes)):
            if found:
                print_items(title, [str(one) for one in found], error=True)
    return exit_codes.FAILED if result.problems else 0


def _read(file: TextIO) -> str:
    try:
        return file.read()
    except UnicodeDecodeError as error:
        raise UserError(f"{file.name}: is not a text in UTF-8") from error
