"""Errors of a scanner, and their stable reasons for metrics."""

from __future__ import annotations

from typing import ClassVar

from atoll.errors import AtollError
from atoll.scanning.clair.redaction import redact


class ScannerError(AtollError):
    """A request to a scanner failed.

    The text contains neither addresses nor credentials, so it can be stored and shown.

    Attributes:
        reason: A short, stable name of the kind of error, for metrics.
    """

    reason: ClassVar[str] = "error"

    def __init__(self, message: str) -> None:
        super().__init__(redact(message))


# The scanner ----------------------------------------------------------------------------------


class ScannerUnavailable(ScannerError):
    """The scanner cannot be reached, or fails whatever the image; other scanners may work."""

    reason = "unavailable"


class ScannerTimedOut(ScannerUnavailable):
    """The scanner accepted a connection, but did not respond in time."""

    reason = "timeout"


class ScannerMisconfigured(ScannerUnavailable):
    """The scanner fails on every image because of its configuration."""

    reason = "misconfigured"


class ScannerBusy(ScannerError):
    """The scanner indexes as many images as it can; the request can be repeated later."""

    reason = "busy"


class ScannerRefused(ScannerError):
    """The scanner accepts none of the keys."""

    reason = "refused"


class RequestRejected(ScannerError):
    """The scanner does not accept a request that is not about an image's content."""

    reason = "request_rejected"


class InvalidScannerResponse(ScannerError):
    """The response is not understood; the text names the field."""

    reason = "invalid_response"


# Reports --------------------------------------------------------------------------------------


class ReportNotReady(ScannerError):
    """The scanner has no vulnerability data yet, or is still indexing the image."""

    reason = "not_ready"


class ReportUnknown(ScannerError):
    """The scanner has not indexed the image, or cannot reach its database."""

    reason = "unknown"


# Images ---------------------------------------------------------------------------------------


class ImageRejected(ScannerError):
    """The image cannot be indexed: its manifest is malformed, or a layer is not an archive."""

    reason = "image_rejected"


class IndexFailed(ScannerError):
    """The scanner failed while it indexed the content of the image."""

    reason = "index_failed"


class LayerInvalid(ScannerError):
    """The bytes of a layer are damaged, or do not have the type that its store states."""

    reason = "layer_invalid"


class LayerUnreachable(ScannerError):
    """The scanner could not fetch a layer.

    Attributes:
        status: The status of the store's response; None if there was none.
    """

    reason = "layer_unreachable"

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status
