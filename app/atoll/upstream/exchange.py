"""Single requests to an upstream: errors of connections and statuses become UpstreamErrors."""

from __future__ import annotations

import email.utils
import http.client
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from email.message import Message

from atoll.outbound.errors import (
    BodyTooLarge,
    BodyTruncated,
    DestinationRefused,
    InvalidDestination,
    InvalidResponse,
    OutboundError,
    TimedOut,
    TlsFailed,
    TooManyRedirects,
)
from atoll.outbound.response import Response
from atoll.outbound.session import OutboundSession
from atoll.upstream.errors import (
    AddressRefused,
    InvalidContent,
    InvalidReference,
    NotARegistry,
    RateLimited,
    ServerFailed,
    TlsError,
    TooLarge,
    Truncated,
    Unreachable,
    UpstreamError,
    UpstreamTimedOut,
)
from atoll.upstream.numbers import natural

log = logging.getLogger(__name__)

# Seconds to wait after status 429 without Retry-After, and the longest time that is believed.
_PAUSE_DEFAULT = 60.0
_PAUSE_MAXIMUM = 86_400.0

# The first match counts.
_KINDS: list[tuple[type[OutboundError], type[UpstreamError], str]] = [
    (InvalidDestination, InvalidReference, "the address of '{host}' is not valid"),
    (DestinationRefused, AddressRefused, "the address of '{host}' is not permitted"),
    (TlsFailed, TlsError, "no TLS connection to '{host}'"),
    (TimedOut, UpstreamTimedOut, "'{host}' did not respond in time"),
    (BodyTruncated, Truncated, "'{host}' closed the connection within a response"),
    (BodyTooLarge, TooLarge, "a response of '{host}' is too large"),
    (InvalidResponse, NotARegistry, "'{host}' does not respond with valid HTTP"),
    (TooManyRedirects, InvalidContent, "'{host}' redirects too often"),
    (OutboundError, Unreachable, "no connection to '{host}'"),
]


class Exchanges:
    """Sends requests of one upstream; thread-safe."""

    def __init__(self, session: OutboundSession, clock: Callable[[], float] = time.time) -> None:
        self._session = session
        self._clock = clock

    @contextmanager
    def send(
        self, method: str, url: str, headers: Mapping[str, str], *, host: str, streaming: bool
    ) -> Iterator[Response]:
        """Send a request and yield its response, whatever its status.

        Args:
            method: GET or HEAD.
            url: The URL.
            headers: The headers.
            host: The host to name in errors.
            streaming: Whether the body may take any time, as long as it makes progress.

        Raises:
            RateLimited: The server asked for a pause.
            UpstreamError: The request failed.
        """
        with (
            outbound_failures(host),
            self._session.request(method, url, headers, streaming=streaming) as response,
        ):
            pause = requested_pause(response.status, response.headers, self._clock())
            if pause is not None:
                raise RateLimited(f"'{host}' asked for a pause of {pause:.0f} s", pause)
            yield response


@contextmanager
def outbound_failures(host: str) -> Iterator[None]:
    """Convert errors of requests; the exact cause is logged, because it may reveal the network.

    Args:
        host: The host to name in errors.
    """
    try:
        yield
    except OutboundError as error:
        kind, text = next((kind, text) for cause, kind, text in _KINDS if isinstance(error, cause))
        log.info("request to upstream failed", extra={"upstream": host, "cause": str(error)})
        raise kind(text.format(host=host)) from error


def requested_pause(status: int, headers: Message, now: float) -> float | None:
    """Return the seconds for which a server asks to send no request; None if it does not.

    Args:
        status: The status of the response.
        headers: Its headers.
        now: The current time in seconds since 1970.
    """
    text = headers.get("Retry-After")
    seconds = _seconds(text, headers.get("Date"), now) if text else None
    if status == http.client.TOO_MANY_REQUESTS:
        seconds = _PAUSE_DEFAULT if seconds is None else seconds
    elif status != http.client.SERVICE_UNAVAILABLE or seconds is None:
        return None
    return min(max(seconds, 1.0), _PAUSE_MAXIMUM)


def _seconds(text: str, date: str | None, now: float) -> float | None:
    """Parse Retry-After: seconds, or a date, which is compared with the server's own clock."""
    seconds = natural(text)
    if seconds is not None:
        return float(seconds)
    until = _timestamp(text)
    if until is None:
        return None
    sent = _timestamp(date) if date else None
    return until - (now if sent is None else sent)


def _timestamp(text: str) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def unexpected_status(host: str, status: int) -> UpstreamError:
    """Return the error for a status that the protocol does not provide for."""
    text = f"'{host}' responded with status {status}"
    if status >= http.client.INTERNAL_SERVER_ERROR or status in _TEMPORARY:
        return ServerFailed(text)
    return NotARegistry(text)


_TEMPORARY = frozenset({http.client.REQUEST_TIMEOUT, http.client.TOO_EARLY})
