"""Command classes: exit codes and examples in the help, and groups that import lazily."""

from __future__ import annotations

import importlib
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import click
from click.shell_completion import CompletionItem

HELP_WIDTH = 80
_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": HELP_WIDTH}


class Command(click.Command):
    """A command whose help also lists exit codes and examples.

    Args:
        arguments: those of click.
        exit_codes: the meaning of each exit code.
        examples: command lines.
        options: those of click.
    """

    def __init__(
        self,
        *arguments: Any,
        exit_codes: Mapping[int, str] | None = None,
        examples: Sequence[str] = (),
        **options: Any,
    ) -> None:
        options.setdefault("context_settings", _SETTINGS)
        super().__init__(*arguments, **options)
        self.exit_codes = exit_codes or {}
        self.examples = examples

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples and the exit codes."""
        if self.examples:
            with formatter.section("Examples"):
                for example in self.examples:
                    formatter.write(f"{' ' * formatter.current_indent}{example}\n")
        if self.exit_codes:
            with formatter.section("Exit codes"):
                formatter.write_dl([(str(code), text) for code, text in self.exit_codes.items()])
        super().format_epilog(ctx, formatter)


@dataclass(frozen=True)
class Entry:
    """A command that is not imported yet.

    Attributes:
        target: the command as "module:attribute".
        help: a verb phrase for the list of commands.
        hidden: whether the list of commands leaves it out.
    """

    target: str
    help: str
    hidden: bool = False


class Group(click.Group):
    """A group of commands, some of which are imported only when they are used.

    Args:
        arguments: those of click.
        sections: commands that are not imported yet, by the title of their section in the help.
        options: those of click.
    """

    command_class = Command

    def __init__(
        self,
        *arguments: Any,
        sections: Mapping[str, Mapping[str, Entry]] | None = None,
        **options: Any,
    ) -> None:
        options.setdefault("context_settings", _SETTINGS)
        super().__init__(*arguments, **options)
        self.sections = sections or {}
        self.entries = {
            name: entry for section in self.sections.values() for name, entry in section.items()
        }

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, in the order of their definition."""
        del ctx
        return [*self.commands, *self.entries]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command by its name, None if there is none."""
        entry = self.entries.get(cmd_name)
        if entry is None:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = entry.target.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands and options that complete a word, without importing commands."""
        texts = {
            name: command.get_short_help_str()
            for name, command in self.commands.items()
            if not command.hidden
        }
        texts |= {name: entry.help for name, entry in self.entries.items() if not entry.hidden}
        found = [
            CompletionItem(name, help=text)
            for name, text in texts.items()
            if name.startswith(incomplete)
        ]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the arguments name. An unknown command is a usage error."""
        if not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            ctx.fail(self._unknown_command(args[0]))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one list of commands per section."""
        del ctx
        own = {
            name: command.get_short_help_str(HELP_WIDTH).removesuffix(".")
            for name, command in self.commands.items()
            if not command.hidden
        }
        lists = {"Commands": own} if own else {}
        for title, section in self.sections.items():
            lists[title] = {name: one.help for name, one in section.items() if not one.hidden}
        width = max((len(name) for rows in lists.values() for name in rows), default=0)
        for title, rows in lists.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), text) for name, text in rows.items()])

    def _unknown_command(self, name: str) -> str:
        shown = [one for one, command in self.commands.items() if not command.hidden]
        shown += [one for one, entry in self.entries.items() if not entry.hidden]
        close = get_close_matches(name, shown, n=1)
        guess = f" Did you mean '{close[0]}'?" if close else ""
        listed = textwrap.fill(f"Commands: {', '.join(shown)}", HELP_WIDTH, break_on_hyphens=False)
        return f"No such command '{name}'.{guess}\n{listed}"
