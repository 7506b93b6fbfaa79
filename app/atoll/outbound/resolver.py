"""Name resolution within a time limit."""

from __future__ import annotations

import ipaddress
import queue
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from atoll.config.hosts import Address
from atoll.outbound.errors import RequestFailed

# Look-ups of one process at the same time, including the abandoned ones: more than all deliveries
# and exports of a process can abandon within the half minute for which the system keeps trying, so
# that names that do not resolve fail nobody else's look-ups.
_AT_ONCE = 128


class Resolver(Protocol):
    """Resolves host names."""

    def resolve(self, host: str, seconds: float) -> Sequence[Address]:
        """Return the addresses of HOST, at least one. Raises RequestFailed."""
        ...


class SystemResolver:
    """The system's resolver.

    getaddrinfo has no time limit of its own and cannot be interrupted: each look-up runs in a
    thread, which is abandoned when the time is over.
    """

    def __init__(
        self,
        lookup: Callable[..., Sequence[Any]] = socket.getaddrinfo,
        *,
        at_once: int = _AT_ONCE,
    ) -> None:
        self._lookup = lookup
        self._slots = threading.BoundedSemaphore(at_once)

    def resolve(self, host: str, seconds: float) -> Sequence[Address]:
        """Return the addresses of HOST, at least one. Raises RequestFailed."""
        try:
            return [ipaddress.ip_address(host)]
        except ValueError:
            deadline = time.monotonic() + seconds
        if not self._slots.acquire(timeout=seconds):
            raise RequestFailed(f"'{host}' not resolved: too many look-ups wait for an answer")
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
            raise RequestFailed(f"'{host}' not resolved within {seconds:.1f} s") from None
        if isinstance(answer, Exception):
            raise RequestFailed(f"'{host}' cannot be resolved: {answer}") from answer
        return _addresses(host, answer)

    def _look_up(self, host: str, answers: queue.SimpleQueue[Sequence[Any] | Exception]) -> None:
        try:
            answers.put(self._lookup(host, None, type=socket.SOCK_STREAM))
        except Exception as error:
            answers.put(error)
        finally:
            self._slots.release()


def _addresses(host: str, answer: Sequence[Any]) -> Sequence[Address]:
    """Return the addresses in an answer of getaddrinfo, each once."""
    # The zone of a link-local address follows a percent sign.
    texts = dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in answer)
    if not texts:
        raise RequestFailed(f"'{host}' has no address")
    return [ipaddress.ip_address(text) for text in texts]
