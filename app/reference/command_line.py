"""The page of the command line, from the tree of commands, and a check of command lines."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import click
from atoll import exit_codes
from atoll.cli.commands import Command, Group
from atoll.cli.root import atoll

from reference.markdown import block, code, item, page, paragraph, sentence, table

# A constant of `atoll.exit_codes` with its comment.
_EXIT_CODE = re.compile(r"# (.+)\n[A-Z]+ = (\d+)")
_HELP = {"-h", "--help"}


def command_line_page() -> str:
    """Return the page of all commands, in the order of `atoll --help`."""
    return page("Command line", "app/atoll/cli", _parts())


def command_problem(line: str) -> str | None:
    """Return the first unknown command or option of a LINE that starts with `atoll`, or None.

    Words in capitals and unexpanded values stand for arguments.
    """
    command: click.Command = atoll
    context = click.Context(atoll, info_name="atoll")
    path = ["atoll"]
    known = set(_HELP)
    for word in line.split()[1:]:
        found = command.get_command(context, word) if isinstance(command, click.Group) else None
        if found is not None:
            command, path = found, [*path, word]
            context = click.Context(found, info_name=word, parent=context)
        elif word.startswith("-") and word.strip("-"):
            known |= {name for one in command.params for name in _names(one)}
            if word.partition("=")[0] not in known:
                return f"{' '.join(path)} has no option {word}"
        elif isinstance(command, click.Group) and word.isalpha() and word.islower():
            return f"{' '.join(path)} has no command {word}"
    return None


def _parts() -> Iterator[str]:
    root = click.Context(atoll, info_name="atoll")
    yield paragraph(
        "`atoll` is the entry point of the container. On a host, run it in the container of the"
        " registry: `podman exec -i atoll-registry atoll COMMAND`. Results are printed to standard"
        " output, progress and prompts to standard error. Shell completion: `atoll completion`."
    )
    yield "## Exit codes"
    yield paragraph(
        "0 is success and 2 a usage error. Other codes are those of sysexits.h; each command lists"
        " its own:"
    )
    yield table(
        ("code", "meaning"),
        [(number, text) for text, number in _EXIT_CODE.findall(inspect.getsource(exit_codes))],
    )
    for title, entries in atoll.sections.items():
        shown = {name: entry for name, entry in entries.items() if not entry.hidden}
        yield f"## {title}"
        yield table(
            ("command", "purpose"),
            [(f"[`atoll {name}`](#atoll-{name})", one.help) for name, one in shown.items()],
        )
        for name in shown:
            if command := atoll.get_command(root, name):
                yield from _command(command, click.Context(command, info_name=name, parent=root))


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    yield f"### {context.command_path}"
    yield block("text", " ".join([context.command_path, *command.collect_usage_pieces(context)]))
    for text in inspect.cleandoc(command.help or "").split("\n\n"):
        if text.strip("\b \n"):
            yield paragraph(sentence(text.strip("\b \n")))
    options = [one for one in command.params if isinstance(one, click.Option) and not one.hidden]
    if options:
        yield table(("option", "meaning"), [_option(one, context) for one in options])
    if isinstance(command, Command):
        if command.exit_codes:
            yield "\n".join(
                item(f"Exit code {number}: {sentence(text)}")
                for number, text in command.exit_codes.items()
            )
        if command.examples:
            yield block("shell", "\n".join(command.examples))
    if isinstance(command, Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None and not below.hidden:
                child = click.Context(below, info_name=name, parent=context)
                yield from _command(below, child)


def _option(option: click.Option, context: click.Context) -> tuple[str, str]:
    record = option.get_help_record(context)
    spelled, text = record or (", ".join(option.opts), "")
    return code(spelled), sentence(text)


def _names(parameter: click.Parameter) -> list[str]:
    return [*parameter.opts, *parameter.secondary_opts]
