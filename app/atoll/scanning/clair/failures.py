"""Classification of Clair's error messages.

Clair responds with status 500 to its own faults and to those of an image alike, and with 400 if a
layer is no archive. Only the message tells them apart.
"""

from __future__ import annotations

import re

from atoll.scanning.clair.errors import (
    ImageRejected,
    IndexFailed,
    LayerInvalid,
    LayerUnreachable,
    ScannerError,
    ScannerMisconfigured,
    ScannerUnavailable,
)

_FETCHING = "failed to fetch layers"
_SCANNING = "failed to scan all layer contents"
_LAYER_STATUS = re.compile(r"unexpected status code: (\d{3})")
_NOT_AN_ARCHIVE = ("unable to create fs.FS", "tarfs:")
_INVALID_BYTES = (
    "validation failed",
    "unexpected EOF",
    "unknown content-type",
    "mismatched compression",
    "gzip:",
    "zstd:",
)
# Without internet access and without mapping files, every image fails with it.
_MISCONFIGURED = ("mappingFile", "mapping file")
_DATABASE = ("failed to connect to `", "SQLSTATE")


def index_failure(message: str, unknown: type[ScannerError] = ScannerUnavailable) -> ScannerError:
    """Return the error for the message of an index request that failed, or of its report.

    Args:
        message: The message of a response with status 500, or `err` of a report with IndexError.
        unknown: The error for a message that is not known.
    """
    # The message of a connection that a layer's store refused resembles that of the database.
    if _FETCHING in message:
        return layer_failure(message)
    if any(sign in message for sign in _DATABASE):
        return ScannerUnavailable(message)
    if _SCANNING in message:
        if any(sign in message for sign in _MISCONFIGURED):
            return ScannerMisconfigured(message)
        return IndexFailed(message)
    return unknown(message or "the scanner failed without a message")


def layer_failure(message: str) -> ScannerError:
    """Return the error for the message of layers that could not be fetched or opened."""
    # Several layers may fail; one that cannot be fetched may be the cause of all.
    if found := _LAYER_STATUS.search(message):
        return LayerUnreachable(message, int(found[1]))
    if any(sign in message for sign in _NOT_AN_ARCHIVE):
        return ImageRejected(message)
    if any(sign in message for sign in _INVALID_BYTES):
        return LayerInvalid(message)
    return LayerUnreachable(message)
