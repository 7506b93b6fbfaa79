"""The Range header of a request (RFC 9110, section 14)."""

from __future__ import annotations

import re

import falcon

_RANGE = re.compile(r"bytes=(?P<first>\d{0,18})-(?P<last>\d{0,18})", re.ASCII)


def requested_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Return where the wanted range of SIZE bytes begins and where it ends (not included).

    None for all of it, which is also the answer to several ranges, another unit, and what cannot
    be read. Raises HTTPRangeNotSatisfiable for a range that has no byte of it, such as one that
    ends before it begins: RFC 9110 would ignore that, the OCI conformance program wants 416.
    """
    match = _RANGE.fullmatch(header or "")
    if match is None or not (match["first"] or match["last"]):
        return None
    if not match["first"]:
        start, end = max(0, size - int(match["last"])), size
    else:
        start = int(match["first"])
        end = min(int(match["last"]) + 1, size) if match["last"] else size
    if start >= end:
        raise falcon.HTTPRangeNotSatisfiable(size)
    return start, end
