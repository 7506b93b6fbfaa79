"""Failures of requests to destinations that users choose.

`InvalidDestination` depends on the URL and the bundle only, so its text may be shown to users. The
texts of the other errors depend on the registry's network and are logged only: they would reveal
open ports and internal host names.
"""

from __future__ import annotations


class OutboundError(Exception):
    """A request failed. The text contains the host, but never the path or query."""


class InvalidDestination(OutboundError):
    """The URL is malformed, or the policy forbids its host without resolving it."""


class DestinationRefused(OutboundError):
    """The host resolves to an address that the policy forbids."""


class RequestFailed(OutboundError):
    """The host could not be resolved or reached, or its response was invalid."""


class NotResolved(RequestFailed):
    """The host name could not be resolved."""


class ConnectionFailed(RequestFailed):
    """The host or the proxy refused or closed the connection."""


class TlsFailed(RequestFailed):
    """The TLS handshake failed; the certificate may be invalid or issued by an unknown CA."""


class TimedOut(RequestFailed):
    """The host did not respond in time."""


class InvalidResponse(RequestFailed):
    """The response is not HTTP, or violates the protocol."""


class BodyTooLarge(RequestFailed):
    """The headers or the body exceed the permitted size."""


class BodyTruncated(RequestFailed):
    """The connection ended before the body was complete."""


class TooManyRedirects(RequestFailed):
    """The host redirected too often."""
