"""`atoll mirror import`: mirrors from files of skopeo sync and regsync."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TextIO

import click

from atoll import exit_codes
from atoll.cli.commands import Command
from atoll.cli.context import CommandContext
from atoll.cli.options import duration_option, json_option
from atoll.cli.output import print_json, print_result
from atoll.errors import UserError
from atoll.mirroring.conversion.sync_files import read_sync_file
from atoll.mirroring.conversion.sync_import import (
    CREATED,
    EXISTS,
    Defaults,
    ImportedMirror,
)


@click.command(
    "import",
    cls=Command,
    exit_codes={
        0: "Each entry of the file is a mirror.",
        1: "Some entries cannot be mirrors; the output lists them.",
    },
    examples=[
        "atoll mirror import sync.yml --namespace acme --dry-run",
        "atoll mirror import - < regsync.yml",
    ],
)
@click.argument("file", type=click.File("r", encoding="utf-8"))
@click.option(
    "--namespace",
    metavar="NAME",
    help="The namespace of all mirrors. Default: that of the targets of regsync.",
)
@click.option(
    "--robot",
    default="mirror",
    show_default=True,
    metavar="NAME",
    help="The robot of the mirrors, without its namespace; created if it is missing.",
)
@click.option(
    "--interval",
    default="24h",
    show_default=True,
    metavar="DURATION",
    help="The interval of mirrors for which the file has none.",
)
@click.option("--dry-run", is_flag=True, help="Only check the file.")
@json_option
@click.pass_obj
def import_mirrors(
    context: CommandContext,
    *,
    file: TextIO,
    namespace: str | None,
    robot: str,
    interval: str,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Create mirrors from a file of skopeo sync or regsync.

    Repositories are created as private ones. Existing mirrors are not changed, and a repository
    with tags does not become a mirror. The output lists each entry by its line, with the
    differences between the tool and the mirror.
    """
    services = context.services()
    now = datetime.now(UTC).replace(microsecond=0)
    defaults = Defaults(namespace, robot, duration_option("--interval", interval) or 0, now)
    try:
        text = file.read()
    except UnicodeDecodeError as error:
        raise UserError(f"'{file.name}' is not a text in UTF-8") from error
    found = services.sync_import.run(read_sync_file(text, now), defaults, dry_run=dry_run)
    if as_json:
        print_json({"dry_run": dry_run, "mirrors": [one.as_dict() for one in found]})
    else:
        for one in found:
            _print(one, dry_run=dry_run)
    return exit_codes.FAILED if any(one.problem for one in found) else 0


def _print(found: ImportedMirror, *, dry_run: bool) -> None:
    created = "can be created" if dry_run else "created"
    texts = {CREATED: f"mirror {found.repository} {created}", EXISTS: "the mirror exists already"}
    text = texts.get(found.result, f"no mirror: {found.problem}")
    print_result(f"line {found.line}: {found.source}: {text}")
    for note in found.notes:
        print_result(f"  {note}")
