"""`atoll import`: images from media."""

from __future__ import annotations

from pathlib import Path

import click

from atoll import exit_codes
from atoll.cli.commands import Command
from atoll.cli.context import CommandContext
from atoll.cli.options import json_option
from atoll.cli.output import Cell, note, print_json, print_result, print_table, progress, size_text
from atoll.errors import UserError
from atoll.media.importer import ImportResult
from atoll.media.medium import Medium, open_medium
from atoll.media.rights import Rights
from atoll.mirroring.copying.copy_errors import CopyError

# Missing digests that are printed for an image; JSON has all.
_SHOWN = 3


@click.command(
    "import",
    cls=Command,
    exit_codes={
        0: "All images were imported.",
        1: "A medium or an image was refused; the output names it.",
        69: "No store accepted a blob; repeat the command, which continues.",
        75: "Images wait for content of other media; the output lists it.",
    },
    examples=[
        "atoll import /media/usb --as acme+importer",
        "atoll import week-1.tar week-2.tar --as ops",
    ],
)
@click.argument(
    "paths", metavar="MEDIUM...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option(
    "--as",
    "username",
    required=True,
    metavar="NAME",
    help="The user or robot whose permissions apply, recorded in the audit log.",
)
@json_option
@click.pass_obj
def import_media(
    context: CommandContext, *, paths: tuple[Path, ...], username: str, as_json: bool
) -> int:
    """Import images from media that 'atoll export' wrote.

    Content that the registry has is not copied again, and a tag is switched after everything that
    belongs to its image. Media can be imported in any order. An interrupted import is continued by
    the same command.
    """
    services = context.services_with_stores()
    if services.bundle.read_only or services.bundle.disable_pushes:
        raise UserError(
            "the registry accepts no pushes (REGISTRY_STATE or DISABLE_PUSHES), and no imports"
        )
    rights = Rights(services.database, services.access, username)
    media: list[Medium] = []
    prober = services.locations.start_probing(services.thread_registry)
    try:
        for path in paths:
            media.append(open_medium(path))
        with progress("importing tags") as advance:
            result = services.importer.run(media, rights, progress=advance)
    except CopyError as error:
        note(f"{error}; nothing was lost: repeat the command, which continues")
        return exit_codes.UNAVAILABLE if error.is_temporary else exit_codes.FAILED
    finally:
        prober.stop()
        for one in media:
            one.reader.close()
    if as_json:
        print_json({"media": [one.description.name for one in media], **result.as_dict()})
    else:
        _print(result)
    if result.failures:
        return exit_codes.FAILED
    return exit_codes.INCOMPLETE if result.waiting else 0


def _print(result: ImportResult) -> None:
    rows: list[list[Cell]] = [
        [
            one.repository,
            one.switched,
            one.unchanged,
            one.older,
            one.waiting,
            size_text(one.bytes_copied),
            size_text(one.bytes_present),
        ]
        for one in result.repositories
    ]
    headings = ["repository", "new tags", "unchanged", "older", "waiting", "copied", "present"]
    print_table(headings, rows)
    for failure in result.failures:
        print_result(f"not imported: {failure.image}: {failure.reason}")
    for waiting in result.waiting:
        state = "incomplete" if waiting.switched else "waiting"
        print_result(f"{state}: {waiting.image}; missing:")
        for digest in waiting.missing[:_SHOWN]:
            print_result(f"  {digest}")
        if more := len(waiting.missing[_SHOWN:]):
            print_result(f"  and {more} more, see --json")
        if waiting.media:
            print_result(f"  import medium {', '.join(waiting.media)}")
