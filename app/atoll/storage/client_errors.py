"""Classify errors of the stores' clients: unreachable, silent, or another failure.

Clients wrap errors in errors of their own, several layers deep, so the complete chain is examined
instead of one type per client.
"""

from __future__ import annotations

from collections.abc import Iterator

from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.exceptions import ReadTimeoutError as _ReadTimeoutError

from atoll.storage.errors import StoreTimeout, StoreUnavailable, StoreUnreachable

# urllib3 counts a refused connection as a kind of time-out, so these are examined first.
_UNREACHABLE = (ConnectionRefusedError, NameResolutionError, NewConnectionError)
_SILENT = (TimeoutError, ConnectTimeoutError, _ReadTimeoutError)


def unavailable(location: str, error: BaseException) -> StoreUnavailable:
    """Return the StoreUnavailable for an error that a client raised without an answer.

    A connection that breaks during an answer is neither unreachable nor silent: a store may close
    it because of one bad object.
    """
    chain = list(_chain(error))
    kind = StoreUnavailable
    if any(isinstance(one, _UNREACHABLE) for one in chain):
        kind = StoreUnreachable
    elif any(isinstance(one, _SILENT) for one in chain):
        kind = StoreTimeout
    return kind(location, type(error).__name__)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and all errors that caused it."""
    waiting, seen = [error], set()
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        related = (one.__cause__, one.__context__, getattr(one, "reason", None), *one.args)
        waiting += [other for other in related if isinstance(other, BaseException)]
