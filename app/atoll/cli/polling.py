"""Poll the database for slow changes without loading it, and wait for their end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import click

from atoll.cli.output import note
from atoll.errors import UserError

Found = TypeVar("Found")

wait_option = click.option("--wait", "waits", is_flag=True, help="Wait for the success.")
timeout_option = click.option(
    "--timeout", type=float, metavar="SECONDS", help="Fail after this time."
)

_PAUSE_SECONDS = 1.0


@dataclass(frozen=True)
class Pending:
    """A state that is to be waited for.

    Attributes:
        text: The progress, for people.
    """

    text: str


def check_timeout(timeout: float | None, *, waits: bool) -> None:
    """Raise UserError if there is a timeout without a wait."""
    if timeout is not None and not waits:
        raise UserError("--timeout requires --wait")


def poll(query: Callable[[], Found]) -> Found:
    """Pause, call QUERY, pause for as long as the call took, and return its result."""
    time.sleep(_PAUSE_SECONDS)
    began = time.monotonic()
    found = query()
    time.sleep(time.monotonic() - began)
    return found


def wait_for_end(query: Callable[[], Found | Pending], timeout: float | None) -> Found:
    """Poll QUERY until it does not return Pending, print each new text, and return the result.

    Args:
        query: Reads the state.
        timeout: The maximum time in seconds; None to wait indefinitely.

    Raises:
        UserError: The timeout expired.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    noted, found = "", query()
    while isinstance(found, Pending):
        if found.text != noted:
            note(found.text)
            noted = found.text
        if deadline is not None and time.monotonic() >= deadline:
            raise UserError(f"timed out: {found.text}")
        found = poll(query)
    return found
