"""Run a click command and map its result and its exceptions to an exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from atoll import exit_codes, logs
from atoll.cli.container_processes import INTERRUPTED
from atoll.cli.context import CommandContext
from atoll.cli.errors import explain


def run(
    command: click.Command,
    arguments: Sequence[str],
    *,
    name: str,
    context: CommandContext | None = None,
) -> int:
    """Run a command and return its exit code.

    Args:
        command: the command.
        arguments: the words after its name.
        name: its name in usage messages.
        context: loads what commands work with; from this container by default.
    """
    logs.set_up_for_command()
    try:
        status = command.main(
            list(arguments),
            prog_name=name,
            standalone_mode=False,
            obj=context or CommandContext(),
        )
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader, such as `head`, closed the pipe. Python would report an error at exit.
        sys.stdout = None
        return exit_codes.FAILED
    except Exception as error:
        explained = explain(error)
        if explained is None:
            raise
        code, message = explained
        click.echo(message, err=True)
        return code
    return int(status or 0)
