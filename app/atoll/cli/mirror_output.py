"""What the commands for mirrors of repositories and of organizations print alike."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from atoll import exit_codes
from atoll.cli.output import Cell, alarm, duration_text, print_json, print_result
from atoll.errors import UserError
from atoll.mirroring.mirror_records import FAIL


def state_cell(status: str, *, is_enabled: bool) -> Cell:
    """Return the cell of a mirror's state."""
    if not is_enabled:
        return f"{status} (disabled)"
    return alarm(FAIL) if status == FAIL else status


def success_text(date: datetime | None, seconds: float) -> str:
    """Return how long ago the last success was.

    Args:
        date: Its time; None if there was none.
        seconds: The seconds since then.
    """
    return "never" if date is None else f"{duration_text(seconds)} ago"


def date_text(date: datetime | None, without: str = "-") -> str:
    """Return a date, or a text if there is none."""
    return date.isoformat(" ", "seconds") if date else without


def cause_text(reason: str | None, message: str | None) -> str:
    """Return the reason and the message of a failure, if there are any."""
    return ": ".join(text for text in (reason, message) if text)


def print_fields(title: str, fields: Mapping[str, str]) -> None:
    """Print a title, and below it a field per line."""
    print_result(title)
    width = max(map(len, fields))
    for label, text in fields.items():
        print_result(f"  {f'{label}:'.ljust(width + 1)} {text}")


def print_request(kind: str, name: str, action: str, text: str, *, as_json: bool) -> None:
    """Print that something was requested or cancelled.

    Args:
        kind: What NAME is, in JSON: `repository` or `organization`.
        name: The repository or the organization.
        action: What was requested or cancelled, in JSON: `run` or `discovery`.
        text: `requested` or `cancelled`.
        as_json: Whether to print JSON.
    """
    if as_json:
        print_json({kind: name, action: text})
    else:
        subject = "a run" if action == "run" else "a discovery of the repositories"
        print_result(f"{subject} of {name} was {text}")


def print_verification(
    name: str, fields: Mapping[str, Any], *, success: bool, as_json: bool
) -> int:
    """Print the result of a connection to an upstream, and return the exit code.

    Args:
        name: The mirror.
        fields: The result in JSON, with a `message`.
        success: Whether the connection succeeded.
        as_json: Whether to print JSON.

    Raises:
        UserError: It did not, and the message is to be printed.
    """
    if as_json:
        print_json(dict(fields))
    elif success:
        print_result(f"{name}: {fields['message']}")
    else:
        raise UserError(str(fields["message"]))
    return 0 if success else exit_codes.FAILED
