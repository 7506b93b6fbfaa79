"""An HTTP client for destinations that users choose.

A name is resolved once. All of its addresses are checked against the policy, and the connection is
made to one of exactly these, because a second lookup could return others. Redirects are checked in
the same way, proxies from the environment are ignored, and time and size are limited.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from atoll.config import Bundle
from atoll.outbound.connection import Deadline, Limits, PinnedConnection
from atoll.outbound.destination import Destination, parse
from atoll.outbound.errors import TooManyRedirects
from atoll.outbound.policy import DestinationPolicy
from atoll.outbound.redirects import REDIRECTS, headers_after, redirected
from atoll.outbound.resolver import Resolver, SystemResolver
from atoll.outbound.response import Response, failures
from atoll.outbound.tls import MakeContext, lazy_context


class OutboundClient:
    """Sends requests to destinations that the policy permits; thread-safe."""

    def __init__(
        self,
        policy: DestinationPolicy,
        tls: MakeContext,
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
        return cls(DestinationPolicy.from_bundle(bundle), lazy_context(ca_bundle))

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
                if response.status not in REDIRECTS or not location:
                    yield response
                    return
            following = redirected(self._policy, destination, location)
            kept = headers_after(destination, following, kept)
            destination = following
        raise TooManyRedirects(f"too many redirects from '{destination.host}'")

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
        with failures(destination):
            seconds = deadline.within(self._limits.idle)
        addresses = self._resolver.resolve(destination.host, seconds)
        self._policy.check_addresses(destination.host, addresses)
        connection = PinnedConnection(destination, addresses, self._tls(), deadline, self._limits)
        try:
            with failures(destination):
                connection.connect()
                connection.send_request(method, headers, body)
                response = connection.getresponse()
            yield Response(destination, connection, response)
        finally:
            connection.disconnect()
