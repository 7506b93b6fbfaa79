"""Responses of destinations, and the conversion of their failures to errors."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from atoll.outbound.connection import PinnedConnection, TlsHandshakeFailed, TooLarge
from atoll.outbound.destination import Destination
from atoll.outbound.errors import (
    BodyTooLarge,
    BodyTruncated,
    ConnectionFailed,
    InvalidResponse,
    RequestFailed,
    TimedOut,
    TlsFailed,
)

_PIECE = 65_536


class Response:
    """A response whose body has not been read."""

    def __init__(
        self,
        destination: Destination,
        connection: PinnedConnection,
        response: http.client.HTTPResponse,
    ) -> None:
        self.destination = destination
        self.status = response.status
        self.headers = response.headers
        self._connection = connection
        self._response = response

    @property
    def is_complete(self) -> bool:
        """Whether the whole body was read and the connection can be used again."""
        return self._response.isclosed() and not self._response.will_close

    def pieces(self, maximum: int | None = None) -> Iterator[bytes]:
        """Yield the body in pieces.

        Args:
            maximum: The maximum size of the body in bytes; None for no limit.

        Raises:
            RequestFailed: The body is too large, truncated, or not received in time.
        """
        with failures(self.destination):
            size = 0
            self._allow(maximum)
            while piece := self._response.read(_PIECE):
                size += len(piece)
                if maximum is not None and size > maximum:
                    raise TooLarge("the body is too large")
                yield piece
            # http.client detects truncation only when it reads the whole body in one call.
            if self._response.length:
                raise http.client.IncompleteRead(b"", self._response.length)

    def read(self, maximum: int) -> bytes:
        """Return the whole body.

        Args:
            maximum: The maximum size of the body in bytes.

        Raises:
            RequestFailed: The body is too large, truncated, or not received in time.
        """
        return b"".join(self.pieces(maximum))

    def abort(self) -> None:
        """End the transfer; a thread that waits for the body fails at once. Thread-safe."""
        self._connection.shut_down()

    def _allow(self, maximum: int | None) -> None:
        """Permit a body of `maximum` bytes, and as many bytes for the framing of small chunks."""
        if self._connection.limited is not None:
            self._connection.limited.allow(None if maximum is None else 2 * maximum + _PIECE)


@contextmanager
def failures(destination: Destination) -> Iterator[None]:
    """Convert errors of a connection to RequestFailed."""
    try:
        yield
    except (OSError, http.client.HTTPException, TooLarge, TlsHandshakeFailed) as error:
        raise _failure(destination, error) from error


def _failure(destination: Destination, error: Exception) -> RequestFailed:
    kind = next(
        (kind for causes, kind in _KINDS if isinstance(error, causes)),
        ConnectionFailed,
    )
    cause = error.cause if isinstance(error, TlsHandshakeFailed) else error
    reason = getattr(cause, "verify_message", None) or f"{type(cause).__name__}: {cause}"
    return kind(f"request to '{destination.host}' failed: {reason}")


# The first match counts: some of these classes are subclasses of others.
_KINDS: list[tuple[tuple[type[Exception], ...], type[RequestFailed]]] = [
    ((TlsHandshakeFailed,), TlsFailed),
    ((TooLarge,), BodyTooLarge),
    ((http.client.IncompleteRead, ssl.SSLEOFError), BodyTruncated),
    ((http.client.RemoteDisconnected,), ConnectionFailed),
    ((http.client.HTTPException,), InvalidResponse),
    ((TimeoutError,), TimedOut),
]
