"""An HTTP client for destinations that users choose.

A name is resolved once. All of its addresses are checked against the policy, and the connection is
made to one of exactly these, because a second lookup could return others. Redirects are checked in
the same way, proxies from the environment are ignored, and time and size are limited.
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urljoin

from atoll.config import Bundle
from atoll.outbound.connection import Deadline, Limits, PinnedConnection, TooLarge
from atoll.outbound.destination import Destination, parse
from atoll.outbound.errors import DestinationRefused, InvalidDestination, RequestFailed
from atoll.outbound.policy import DestinationPolicy
from atoll.outbound.resolver import Resolver, SystemResolver

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# Headers that are sent to one origin only.
_CREDENTIALS = frozenset({"authorization", "cookie"})
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

    def pieces(self, maximum: int | None = None) -> Iterator[bytes]:
        """Yield the body in pieces.

        Args:
            maximum: The maximum size of the body in bytes; None for no limit.

        Raises:
            RequestFailed: The body is too large, truncated, or not received in time.
        """
        with _failures(self.destination):
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

    def _allow(self, maximum: int | None) -> None:
        """Permit a body of `maximum` bytes, and as many bytes for the framing of small chunks."""
        if self._connection.limited is not None:
            self._connection.limited.allow(None if maximum is None else 2 * maximum + _PIECE)


class OutboundClient:
    """Sends requests to destinations that the policy permits; thread-safe."""

    def __init__(
        self,
        policy: DestinationPolicy,
        tls: ssl.SSLContext,
        resolver: Resolver | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._policy = policy
        self._tls = tls
        self._resolver = resolver or SystemResolver()
        self._limits = limits or Limits()

    @classmethod
    def from_bundle(cls, bundle: Bundle, ca_bundle: str | None) -> OutboundClient:
        """Return a client with the rules of the bundle.

        Args:
            bundle: The bundle, for SSRF_ALLOWED_HOSTS and WEBHOOK_HOSTNAME_BLACKLIST.
            ca_bundle: A file of CA certificates; None to use those of the system.
        """
        return cls(
            DestinationPolicy.from_bundle(bundle), ssl.create_default_context(cafile=ca_bundle)
        )

    def check(self, url: str) -> None:
        """Check a URL without resolving its host.

        Raises:
            InvalidDestination: The URL is malformed, or the policy forbids its host.
        """
        self._policy.check(parse(url))

    def post(self, url: str, body: bytes, content_type: str) -> int:
        """Send a POST request and return the status of the response, whose body is not read.

        Redirects are not followed.

        Raises:
            OutboundError: The request could not be sent, or there was no response in time.
        """
        headers = {"Content-Type": content_type}
        deadline = Deadline(self._limits.total)
        with self._exchange("POST", parse(url), headers, body, deadline) as response:
            return response.status

    @contextmanager
    def get(self, url: str, headers: Mapping[str, str] | None = None) -> Iterator[Response]:
        """Send a GET request, and follow redirects that the policy permits.

        Credentials in `headers` are sent to the origin of the URL only.

        Raises:
            OutboundError: The request could not be sent, or there was no response in time.
        """
        destination = parse(url)
        kept = dict(headers or {})
        deadline = Deadline(self._limits.total)
        for _ in range(self._limits.redirects + 1):
            with self._exchange("GET", destination, kept, None, deadline) as response:
                location = response.headers.get("Location")
                if response.status not in _REDIRECTS or not location:
                    yield response
                    return
            following = self._redirected(destination, location)
            if following.origin != destination.origin:
                kept = {k: v for k, v in kept.items() if k.lower() not in _CREDENTIALS}
            destination = following
        raise RequestFailed(f"too many redirects from '{destination.host}'")

    @contextmanager
    def _exchange(
        self,
        method: str,
        destination: Destination,
        headers: Mapping[str, str],
        body: bytes | None,
        deadline: Deadline,
    ) -> Iterator[Response]:
        """Send one request and yield its response; the connection is closed after the block."""
        self._policy.check(destination)
        with _failures(destination):
            seconds = deadline.within(self._limits.idle)
        addresses = self._resolver.resolve(destination.host, seconds)
        self._policy.check_addresses(destination.host, addresses)
        connection = PinnedConnection(destination, addresses, self._tls, deadline, self._limits)
        try:
            with _failures(destination):
                connection.connect()
                own = {"Host": destination.host_header, "User-Agent": "atoll"}
                connection.request(method, destination.target, body, {**own, **headers})
                response = connection.getresponse()
            yield Response(destination, connection, response)
        finally:
            connection.disconnect()

    def _redirected(self, destination: Destination, location: str) -> Destination:
        """Return the destination of a redirect.

        Raises:
            DestinationRefused: The destination is malformed, or the policy forbids its host.
        """
        try:
            following = parse(urljoin(destination.url, location))
            self._policy.check(following)
        except (InvalidDestination, ValueError) as error:
            raise DestinationRefused(
                f"redirect of '{destination.host}' refused: {error}"
            ) from error
        return following


@contextmanager
def _failures(destination: Destination) -> Iterator[None]:
    """Convert errors of a connection to RequestFailed."""
    try:
        yield
    except (OSError, http.client.HTTPException, TooLarge) as error:
        reason = getattr(error, "verify_message", None) or f"{type(error).__name__}: {error}"
        raise RequestFailed(f"request to '{destination.host}' failed: {reason}") from error
