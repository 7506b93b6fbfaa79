"""Options and parameter types that several commands share."""

from __future__ import annotations

import click

from atoll.config.model import parse_duration
from atoll.config.units import parse_size
from atoll.errors import UserError

json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")


def duration_option(option: str, text: str | None) -> int | None:
    """Return the seconds of a duration such as `7d`, None if the option was not given.

    Raises:
        UserError: the text is not a duration; the message names the option.
    """
    try:
        return None if text is None else parse_duration(text)
    except ValueError as error:
        raise UserError(f"{option} {error}") from error


def size_option(option: str, text: str | None) -> int | None:
    """Return the bytes of a size such as `20M`, None if the option was not given.

    Raises:
        UserError: the text is not a positive size; the message names the option.
    """
    try:
        size = None if text is None else parse_size(text)
    except ValueError as error:
        raise UserError(f"{option} {error}") from error
    if size == 0:
        raise UserError(f"{option} must be more than 0")
    return size
