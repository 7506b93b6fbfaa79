"""Find a command's function, run it, and turn what stops it into a sentence and a status."""

from __future__ import annotations

import argparse
import importlib
import sys

from atoll.cli.main import EXIT_CONFIG, EXIT_FAILED, EXIT_UNAVAILABLE


class CommandFailed(Exception):
    """The command cannot do what it was asked for; the text says why and what to do."""


def run(options: argparse.Namespace) -> int:
    """Run the command that OPTIONS name and return its exit status."""
    module, _, function = options.run.partition(":")
    from atoll.config import ConfigError  # noqa: PLC0415 - `healthcheck` is to start fast
    from atoll.db.pool import DatabaseUnavailable  # noqa: PLC0415

    try:
        status: int = getattr(importlib.import_module(f"atoll.cli.{module}"), function)(options)
    except ConfigError as error:
        say(str(error))
        return EXIT_CONFIG
    except DatabaseUnavailable as error:
        say(f"PostgreSQL cannot be reached: {error}\nCheck DB_URI, and that it is up.")
        return EXIT_UNAVAILABLE
    except CommandFailed as error:
        say(str(error))
        return EXIT_FAILED
    return status


def say(text: str) -> None:
    """Tell the person, on standard error."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
