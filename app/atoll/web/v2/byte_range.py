"""The Range header of a request (RFC 9110, section 14)."""

from __future__ import annotations

import re
from dataclasses import dataclass

import falcon

from atoll.web.errors import TooManyRanges

# A range from the first byte up to the last one (not included).
ByteRange = tuple[int, int]

# Ranges of one request: as many as containers/storage (podman) requests at most.
RANGES_MAXIMUM = 1024

_SET = re.compile(r"bytes=(?P<ranges>.*)", re.ASCII | re.IGNORECASE)
_RANGE = re.compile(r"(?P<first>\d{0,18})-(?P<last>\d{0,18})", re.ASCII)


@dataclass(frozen=True)
class RequestedRanges:
    """The satisfiable ranges of a request, in the order of the header.

    Attributes:
        ranges: the ranges; empty if the whole content is to be sent.
        several: whether the header lists several ranges, of which a store may serve only the first.
    """

    ranges: tuple[ByteRange, ...] = ()
    several: bool = False


WHOLE = RequestedRanges()


def requested_ranges(header: str | None, size: int) -> RequestedRanges:
    """Parse a Range header.

    A header with another unit or a syntax error is ignored, as RFC 9110 requires.

    Args:
        header: the header's value; None if there is none.
        size: the size of the content in bytes.

    Raises:
        falcon.HTTPRangeNotSatisfiable: no range contains a byte of the content. That includes a
            range that ends before it begins: RFC 9110 permits ignoring it, the OCI conformance
            tests require 416.
        TooManyRanges: there are more than RANGES_MAXIMUM ranges, or they add up to more bytes than
            the content has.
    """
    match = _SET.fullmatch(header or "")
    if match is None:
        return WHOLE
    # A list may have empty elements (RFC 9110, section 5.6.1).
    texts = [text for element in match["ranges"].split(",") if (text := element.strip(" \t"))]
    if len(texts) > RANGES_MAXIMUM:
        raise TooManyRanges(
            f"the request has {len(texts)} ranges; request at most {RANGES_MAXIMUM} at once"
        )
    found = [_RANGE.fullmatch(text) for text in texts]
    ranges = [_resolve(one, size) for one in found if one and (one["first"] or one["last"])]
    if not ranges or len(ranges) < len(texts):
        return WHOLE
    satisfiable = tuple(one for one in ranges if one is not None)
    if not satisfiable:
        raise falcon.HTTPRangeNotSatisfiable(size)
    if sum(end - start for start, end in satisfiable) > size:
        raise TooManyRanges(
            "the ranges overlap and add up to more bytes than the blob has; request each byte once"
        )
    return RequestedRanges(satisfiable, several="," in match["ranges"])


def _resolve(match: re.Match[str], size: int) -> ByteRange | None:
    """Return the bytes that a range specification selects; None if it selects none."""
    if not match["first"]:
        start, end = max(0, size - int(match["last"])), size
    else:
        start = int(match["first"])
        end = min(int(match["last"]) + 1, size) if match["last"] else size
    return (start, end) if start < end else None
