"""An HTTP client for destinations that users choose.

A name is resolved once; each of its addresses is judged, and the connection goes to one of exactly
these, because a second look-up could return others. Redirects are judged in the same way, proxies
of the environment are not used, and time and size are limited.
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
# Headers that are meant for one origin only.
_CREDENTIALS = frozenset({"authorization", "cookie"})
_PIECE = 65_536


class Response:
    """A response whose body is still to be read."""

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
        """Yield the body, of MAXIMUM bytes at most. Raises RequestFailed, also if it is cut off."""
        with _failures(self.destination):
            size = 0
            self._allow(maximum)
            while piece := self._response.read(_PIECE):
                size += len(piece)
                if maximum is not None and size > maximum:
                    raise TooLarge("its body is too large")
                yield piece
            # Only a read of everything at once notices this by itself.
            if self._response.length:
                raise http.client.IncompleteRead(b"", self._response.length)

    def read(self, maximum: int) -> bytes:
        """Return the whole body, of MAXIMUM bytes at most. Raises RequestFailed."""
        return b"".join(self.pieces(maximum))

    def _allow(self, maximum: int | None) -> None:
        """Let a body of MAXIMUM bytes pass, with as much again for the framing of small chunks."""
        if self._connection.limited is not None:
            self._connection.limited.allow(None if maximum is None else 2 * maximum + _PIECE)


class OutboundClient:
    """Sends requests to destinations that the policy allows; safe for any thread."""

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
            bundle: SSRF_ALLOWED_HOSTS and WEBHOOK_HOSTNAME_BLACKLIST.
            ca_bundle: a file of CA certificates; None: the system's.
        """
        return cls(
            DestinationPolicy.from_bundle(bundle), ssl.create_default_context(cafile=ca_bundle)
        )

    def check(self, url: str) -> None:
        """Check a URL without resolving its host. Raises InvalidDestination."""
        self._policy.check(parse(url))

    def post(self, url: str, body: bytes, content_type: str) -> int:
        """Send a POST request and return the response's status; its body is not read.

        Redirects are not followed.

        Raises:
            OutboundError: it could not be sent, or was not answered in time.
        """
        headers = {"Content-Type": content_type}
        deadline = Deadline(self._limits.total)
        with self._exchange("POST", parse(url), headers, body, deadline) as response:
            return response.status

    @contextmanager
    def get(self, url: str, headers: Mapping[str, str] | None = None) -> Iterator[Response]:
        """Send a GET request and follow redirects, each of which is judged.

        Credentials in HEADERS are sent to the URL's own origin only.

        Raises:
            OutboundError: it could not be sent, or was not answered in time.
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
        raise RequestFailed(f"'{destination.host}' redirects too often")

    @contextmanager
    def _exchange(
        self,
        method: str,
        destination: Destination,
        headers: Mapping[str, str],
        body: bytes | None,
        deadline: Deadline,
    ) -> Iterator[Response]:
        """Send one request and yield its response; the connection ends with the block."""
        self._policy.check(destination)
        with _failures(destination):
            seconds = deadline.within(self._limits.idle)
        addresses = self._resolver.resolve(destination.host, seconds)
        self._policy.judge(destination.host, addresses)
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
        """Return where a response redirects to. Raises DestinationRefused."""
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
    """Raise RequestFailed for what goes wrong on a connection."""
    try:
        yield
    except (OSError, http.client.HTTPException, TooLarge) as error:
        reason = getattr(error, "verify_message", None) or f"{type(error).__name__}: {error}"
        raise RequestFailed(f"'{destination.host}' did not answer properly: {reason}") from error
