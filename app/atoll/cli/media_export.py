"""`atoll export`: write images to a medium."""

from __future__ import annotations

from pathlib import Path

import click

from atoll import exit_codes
from atoll.cli.commands import Command
from atoll.cli.context import CommandContext
from atoll.cli.options import json_option
from atoll.cli.output import Cell, print_json, print_result, print_table, progress, size_text
from atoll.errors import UserError
from atoll.media.exporter import ExportResult
from atoll.media.medium import ARCHIVE_SUFFIX, medium_writer, read_description
from atoll.media.rights import Rights
from atoll.media.selection import SelectedRepository, Selection, parse_reference
from atoll.names import RepositoryName
from atoll.registry.errors import RepositoryUnknown
from atoll.services import Services


@click.command(
    cls=Command,
    exit_codes={
        0: "All images were exported.",
        1: "Some images were not exported; the output lists them.",
        69: "A store was unavailable; the output lists the images that were not exported.",
    },
    examples=[
        "atoll export --repository acme/app:1.0 --all-of tools --to /media/usb",
        "atoll export --all-of acme --since atoll-medium.json --to week-2.tar",
    ],
)
@click.option(
    "--repository",
    "references",
    multiple=True,
    metavar="NAMESPACE/NAME[:TAG]",
    help="A repository with all tags, or one tag; repeatable.",
)
@click.option(
    "--all-of",
    "namespaces",
    multiple=True,
    metavar="NAMESPACE",
    help="All repositories of a namespace; repeatable.",
)
@click.option(
    "--to",
    "target",
    required=True,
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="A directory, which may have a medium, or a new archive with a name in .tar.",
)
@click.option(
    "--since",
    type=click.Path(path_type=Path),
    metavar="MEDIUM",
    help="Omit the files of this earlier medium; its atoll-medium.json is sufficient.",
)
@click.option(
    "--as", "username", metavar="NAME", help="Export only what this user or robot may pull."
)
@json_option
@click.pass_obj
def export(
    context: CommandContext,
    *,
    references: tuple[str, ...],
    namespaces: tuple[str, ...],
    target: Path,
    since: Path | None,
    username: str | None,
    as_json: bool,
) -> int:
    """Write images to a medium for a registry without a network connection.

    The medium is an OCI image layout with signatures and other referrers. A second export to the
    same directory adds only new files. An interrupted export is continued by the same command.
    """
    if not references and not namespaces:
        raise click.UsageError("name images with --repository or --all-of")
    services = context.services_with_stores()
    earlier = None if since is None else read_description(since)
    selected = _select(services, references, namespaces, username)
    writer = medium_writer(target)
    prober = services.locations.start_probing(services.thread_registry)
    try:
        with progress("exporting tags") as advance:
            result = services.exporter.export(
                selected,
                writer,
                name=target.resolve().name.removesuffix(ARCHIVE_SUFFIX) or "medium",
                earlier=earlier,
                progress=advance,
            )
    finally:
        prober.stop()
        writer.close()
    if as_json:
        print_json({"path": str(target), **result.as_dict()})
    else:
        _print(result)
    if not result.failures:
        return 0
    unavailable = any(one.unavailable for one in result.failures)
    return exit_codes.UNAVAILABLE if unavailable else exit_codes.FAILED


def _select(
    services: Services,
    references: tuple[str, ...],
    namespaces: tuple[str, ...],
    username: str | None,
) -> list[SelectedRepository]:
    selection = Selection(services.database)
    rights = None if username is None else Rights(services.database, services.access, username)
    tags: dict[RepositoryName, set[str] | None] = {}
    for text in references:
        name, tag = parse_reference(text)
        if rights is not None and not rights.may_pull(name):
            raise RepositoryUnknown(f"'{username}' may not pull from a repository '{name}'")
        chosen = tags.setdefault(name, set())
        if tag is None or chosen is None:
            tags[name] = None
        else:
            chosen.add(tag)
    for namespace in namespaces:
        found = selection.repositories_of(namespace)
        readable = [name for name in found if rights is None or rights.may_pull(name)]
        if not readable:
            raise UserError(f"the namespace '{namespace}' has no repository to export")
        tags |= dict.fromkeys(readable)
    return [selection.select(name, chosen) for name, chosen in tags.items()]


def _print(result: ExportResult) -> None:
    rows: list[list[Cell]] = [
        [
            one.repository,
            one.tags,
            one.written,
            size_text(one.bytes_written),
            one.present,
            one.omitted,
        ]
        for one in result.repositories
    ]
    print_table(["repository", "tags", "new files", "bytes", "present", "omitted"], rows)
    for failure in result.failures:
        print_result(f"not exported: {failure.image}: {failure.reason}")
    print_result(f"medium {result.name} ({result.medium})")
