"""Find a command's function, run it, and turn what stops it into a sentence and a status."""

from __future__ import annotations

import argparse
import importlib
import sys

from atoll import exit_codes
from atoll.errors import UserError

# For modules that do not use the new name yet.
CommandFailed = UserError


def run(options: argparse.Namespace) -> int:
    """Run the command that OPTIONS name and return its exit status."""
    module, _, function = options.run.partition(":")
    try:
        status: int = getattr(importlib.import_module(module), function)(options)
    except Exception as error:
        return _explain(error)
    return status


def _explain(error: Exception) -> int:
    """Say what stopped a command and return its status, or raise ERROR again: it is a bug."""
    if isinstance(error, UserError):
        say(str(error))
        return exit_codes.FAILED
    # Imported only here: `healthcheck` runs every few seconds and is to start fast.
    from atoll.config import ConfigError  # noqa: PLC0415
    from atoll.db.pool import DatabaseUnavailable  # noqa: PLC0415
    from atoll.db.sessions import SessionsUnsupported  # noqa: PLC0415

    if isinstance(error, ConfigError):
        say(str(error))
        return exit_codes.CONFIG
    if isinstance(error, SessionsUnsupported):
        say(f"DB_URI: {error}")
        return exit_codes.CONFIG
    if isinstance(error, DatabaseUnavailable):
        say(f"PostgreSQL cannot be reached: {error}\nCheck DB_URI, and that it is up.")
        return exit_codes.UNAVAILABLE
    raise error


def say(text: str) -> None:
    """Tell the person, on standard error."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
