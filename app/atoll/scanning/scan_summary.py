"""The scans of an image in one line: its status, and its vulnerabilities by severity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from typing_extensions import TypedDict

from atoll.scanning.scan_states import QUEUED, SCANNED, UNSUPPORTED, word_of
from atoll.scanning.severities import SeverityCountsSchema

_KEYS = tuple(SeverityCountsSchema.__annotations__)


class ScanSummarySchema(TypedDict):
    """The security scan of an image or, for an index, of all images that it lists.

    An index is `queued` until all its images are scanned. `counts` are null unless it is scanned.
    """

    status: str
    counts: SeverityCountsSchema | None


def scan_summary(
    scans: Sequence[tuple[int | None, Mapping[str, int] | None]],
) -> dict[str, Any]:
    """Return the summary of the scans of an image.

    Args:
        scans: The stored state and the counts by severity of each scan; None for an image without
            a scan.
    """
    words = [word_of(state) for state, _ in scans]
    if not words:
        return {"status": UNSUPPORTED, "counts": None}
    status = next((one for one in (QUEUED, SCANNED) if one in words), words[0])
    known = [counts for _, counts in scans if counts is not None]
    if status != SCANNED or not known:
        return {"status": status, "counts": None}
    return {
        "status": status,
        "counts": {key: sum(counts.get(key, 0) for counts in known) for key in _KEYS},
    }
