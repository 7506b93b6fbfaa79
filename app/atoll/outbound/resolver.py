"""Name resolution with a time limit."""

from __future__ import annotations

import ipaddress
import queue
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from atoll.config.hosts import Address
from atoll.outbound.errors import NotResolved

# Concurrent lookups of one process, including abandoned ones, which the system ends after about 30
# seconds. Deliveries and exports cannot abandon that many in this time, so names that do not
# resolve do not block other lookups.
_CONCURRENT_LOOKUPS = 128


class Resolver(Protocol):
    """Resolves host names."""

    def resolve(self, host: str, seconds: float) -> Sequence[Address]:
        """Resolve a host name.

        Args:
            host: The host name or address.
            seconds: The time limit.

        Returns:
            The addresses, at least one.

        Raises:
            NotResolved: The name has no address, or could not be resolved in time.
        """
        ...


class SystemResolver:
    """The resolver of the system.

    getaddrinfo has no time limit and cannot be interrupted, so each lookup runs in a thread, which
    is abandoned at the time limit.
    """

    def __init__(
        self,
        lookup: Callable[..., Sequence[Any]] = socket.getaddrinfo,
        *,
        concurrent_lookups: int = _CONCURRENT_LOOKUPS,
    ) -> None:
        self._lookup = lookup
        self._slots = threading.BoundedSemaphore(concurrent_lookups)

    def resolve(self, host: str, seconds: float) -> Sequence[Address]:
        """Resolve a host name; see `Resolver`."""
        try:
            return [ipaddress.ip_address(host)]
        except ValueError:
            deadline = time.monotonic() + seconds
        if not self._slots.acquire(timeout=seconds):
            raise NotResolved(f"'{host}' not resolved: too many pending lookups")
        answers: queue.SimpleQueue[Sequence[Any] | Exception] = queue.SimpleQueue()
        thread = threading.Thread(target=self._look_up, args=(host, answers), daemon=True)
        try:
            thread.start()
        except RuntimeError:
            self._slots.release()
            raise
        try:
            answer = answers.get(timeout=max(deadline - time.monotonic(), 0))
        except queue.Empty:
            raise NotResolved(f"'{host}' not resolved within {seconds:.1f} s") from None
        if isinstance(answer, Exception):
            raise NotResolved(f"'{host}' cannot be resolved: {answer}") from answer
        return _addresses(host, answer)

    def _look_up(self, host: str, answers: queue.SimpleQueue[Sequence[Any] | Exception]) -> None:
        try:
            answers.put(self._lookup(host, None, type=socket.SOCK_STREAM))
        except Exception as error:
            answers.put(error)
        finally:
            self._slots.release()


def _addresses(host: str, answer: Sequence[Any]) -> Sequence[Address]:
    """Return the distinct addresses in a result of getaddrinfo."""
    # The zone of a link-local address follows a percent sign.
    texts = dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in answer)
    if not texts:
        raise NotResolved(f"'{host}' has no address")
    return [ipaddress.ip_address(text) for text in texts]
