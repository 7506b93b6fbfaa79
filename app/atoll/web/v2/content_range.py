"""The Content-Range header of a chunk (OCI distribution-spec, "Pushing a blob in chunks")."""

from __future__ import annotations

import re

# Docker's registry writes no unit; HTTP (RFC 9110) requires a unit and the complete size.
_CONTENT_RANGE = re.compile(r"(?:bytes )?(?P<start>\d{1,18})-(?P<end>\d{1,18})(?:/\S*)?", re.ASCII)


def parse_content_range(header: str) -> tuple[int, int] | None:
    """Return the positions of the first and the last byte of a chunk; None if it is malformed."""
    match = _CONTENT_RANGE.fullmatch(header.strip())
    return (int(match["start"]), int(match["end"])) if match else None
