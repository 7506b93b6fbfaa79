"""The states of scans: Quay's numbers, and the words of the API."""

from __future__ import annotations

from enum import IntEnum


class ScanState(IntEnum):
    """The state of an image's scan, as in `manifestsecuritystatus.index_status`."""

    RETRIES_EXHAUSTED = -4
    LAYER_TOO_LARGE = -3
    UNSUPPORTED = -2
    FAILED = -1
    PENDING = 0
    # An image that is leased by a worker; not stored.
    IN_PROGRESS = 1
    COMPLETED = 2

    @property
    def word(self) -> str:
        """The `status` of the API."""
        return _WORDS[self]


QUEUED = "queued"
SCANNED = "scanned"
FAILED = "failed"
UNSUPPORTED = "unsupported"
LAYER_TOO_LARGE = "manifest_layer_too_large"

_WORDS = {
    ScanState.RETRIES_EXHAUSTED: FAILED,
    ScanState.LAYER_TOO_LARGE: LAYER_TOO_LARGE,
    ScanState.UNSUPPORTED: UNSUPPORTED,
    ScanState.FAILED: FAILED,
    ScanState.PENDING: QUEUED,
    ScanState.IN_PROGRESS: QUEUED,
    ScanState.COMPLETED: SCANNED,
}


def word_of(index_status: int | None) -> str:
    """Return the `status` of the API for a stored state.

    Args:
        index_status: the number; None for a manifest without a scan.

    Raises:
        ValueError: there is no such state.
    """
    return QUEUED if index_status is None else ScanState(index_status).word
