"""The interface between requests to an upstream and what limits them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from email.message import Message
from typing import Protocol


class Turn(Protocol):
    """The permission for one request."""

    def responded(self, status: int, headers: Message) -> None:
        """Record the response, which may announce how many requests are left."""
        ...


class Budget(Protocol):
    """Limits the requests to one upstream with one account."""

    def request(self, *, counts: bool) -> AbstractContextManager[Turn]:
        """Wait for the permission to send a request, and hold it until the block ends.

        Errors that leave the block are recorded as failures of the upstream.

        Args:
            counts: Whether the upstream counts the request as a pull.

        Raises:
            Paused: No request may be sent for some time, or all slots are in use.
        """
        ...

    def hold(self, waiting: Callable[[], None]) -> AbstractContextManager[Budget]:
        """Wait for a slot, and hold it for requests that follow each other.

        The yielded budget permits one request at a time, without a wait for a slot.

        Args:
            waiting: Called about once a second during the wait; ends it by an error.

        Raises:
            Paused: No request may be sent for some time.
        """
        ...


class Unlimited:
    """A budget without limits, for single requests that a user waits for."""

    @contextmanager
    def request(self, *, counts: bool) -> Iterator[Turn]:
        """Permit a request at once."""
        del counts
        yield _FREE

    @contextmanager
    def hold(self, waiting: Callable[[], None]) -> Iterator[Budget]:
        """Permit requests at once."""
        del waiting
        yield self


class _Free:
    def responded(self, status: int, headers: Message) -> None:
        """Record nothing."""


_FREE = _Free()
