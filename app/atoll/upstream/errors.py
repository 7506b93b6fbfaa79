"""Failures of an upstream.

Each class has two names: `code` is specific, and `reason` is the name that Quay uses in metrics and
messages. The text is for operators: it is short and names hosts, repositories and digests, but it
never contains credentials, headers, bodies, or the path of a redirect.
"""

from __future__ import annotations

from typing import ClassVar

from atoll.errors import AtollError


class TransferError(AtollError):
    """Something could not be fetched from an upstream, or not be stored.

    Attributes:
        code: The specific name of the failure.
        reason: Quay's name of the failure.
        is_temporary: Whether a later attempt may succeed although nothing is changed.
    """

    code: ClassVar[str] = "unknown_error"
    reason: ClassVar[str] = "unknown_error"
    is_temporary: ClassVar[bool] = False


class UpstreamError(TransferError):
    """A request to an upstream failed."""


# Access -------------------------------------------------------------------------------------


class AuthFailed(UpstreamError):
    """The upstream or its token service refused the credentials, or requires some."""

    code = reason = "auth_failed"


class NotFound(UpstreamError):
    """The upstream does not have the repository, or does not show it to this account."""

    code = reason = "not_found"


class ManifestUnknown(NotFound):
    """The upstream does not have a manifest."""

    code = "manifest_unknown"


class BlobUnknown(NotFound):
    """The upstream does not have a blob that a manifest refers to."""

    code = "blob_unknown"


class InvalidReference(UpstreamError):
    """The reference of the upstream is malformed, or its host is forbidden."""

    code = "invalid_reference"
    reason = "invalid_source_registry"


class AddressRefused(UpstreamError):
    """The upstream, a redirect, its token service or the proxy has a forbidden address."""

    code = "address_refused"
    reason = "invalid_source_registry"


class NotARegistry(UpstreamError):
    """The server does not speak the protocol of registries."""

    code = "not_a_registry"
    reason = "invalid_source_registry"


# Network ------------------------------------------------------------------------------------


class Unreachable(UpstreamError):
    """The upstream could not be resolved or connected to, or closed the connection."""

    code = reason = "connection_error"
    is_temporary = True


class UpstreamTimedOut(UpstreamError):
    """The upstream did not respond in time, or stopped sending."""

    code = reason = "network_timeout"
    is_temporary = True


class TlsError(UpstreamError):
    """The TLS handshake failed."""

    code = reason = "tls_error"


class ServerFailed(UpstreamError):
    """The upstream, or the store that it redirected to, responded with an unexpected status."""

    code = "server_error"
    reason = "connection_error"
    is_temporary = True


class Paused(UpstreamError):
    """No request is sent to the upstream for a while; this does not count as an attempt.

    Attributes:
        seconds: The seconds after which requests may be sent again.
    """

    code = "upstream_paused"
    reason = "connection_error"
    is_temporary = True

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class RateLimited(Paused):
    """The upstream asked for a pause, with status 429, or 503 and Retry-After."""

    code = "rate_limited"


class CircuitOpen(Paused):
    """The upstream failed several times in a row, and is not asked for a while."""

    code = "upstream_unavailable"


class QuotaExhausted(Paused):
    """The permitted number of requests in a period is used up."""

    code = "quota_exhausted"


class Stopped(UpstreamError):
    """The transfer was aborted on request."""

    code = "cancelled"
    reason = "preempted"


# Content ------------------------------------------------------------------------------------


class InvalidContent(UpstreamError):
    """A response violates the protocol."""

    code = "invalid_response"


class TooLarge(InvalidContent):
    """A document exceeds its maximum size."""

    code = "too_large"


class EncodedContent(InvalidContent):
    """A response has a Content-Encoding, so its bytes are not those that digests refer to."""

    code = "content_encoding"


class WrongDigest(InvalidContent):
    """The bytes of a manifest or blob do not have its digest."""

    code = "wrong_digest"
    # Proxies and caches corrupt bytes now and then.
    is_temporary = True


class Truncated(InvalidContent):
    """A blob or document ended before its last byte."""

    code = "truncated"
    is_temporary = True


class TooLong(InvalidContent):
    """A blob is longer than its descriptor."""

    code = "too_long"


class Schema1(InvalidContent):
    """The manifest is a Docker image manifest of schema 1, which is not supported."""

    code = "schema1"


class UnsupportedManifest(InvalidContent):
    """The manifest has an unknown media type."""

    code = "unsupported_manifest"


class EndlessListing(InvalidContent):
    """A listing has more pages or entries than permitted, or refers to an earlier page."""

    code = "endless_listing"
