"""Range headers are parsed as RFC 9110 requires."""

from __future__ import annotations

import falcon
import pytest
from atoll.web.errors import TooManyRanges
from atoll.web.v2.byte_range import RANGES_MAXIMUM, WHOLE, RequestedRanges, requested_ranges


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=2-4", (2, 5)),
        ("bytes=2-", (2, 10)),
        ("bytes=2-99", (2, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-99", (0, 10)),
        ("Bytes=2-4", (2, 5)),
    ],
)
def test_a_single_range_is_parsed(header: str, found: tuple[int, int]) -> None:
    assert requested_ranges(header, 10) == RequestedRanges((found,))


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes=",
        "bytes=-",
        "bytes=,",
        "bytes=" + "9" * 5000 + "-",
        "bytes=0-1;3-4",
        "bytes=0-1,x",
        "bytes=0-1,-",
        "bytes=0 - 1",
        "bytes=\u0661-\u0662",
        "lines=0-1",
    ],
)
def test_a_malformed_header_is_ignored(header: str | None) -> None:
    assert requested_ranges(header, 10) == WHOLE


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("bytes=0-1,3-4", ((0, 2), (3, 5))),
        ("bytes=0-1,2-3", ((0, 2), (2, 4))),
        ("bytes=8-9,0-1", ((8, 10), (0, 2))),
        ("bytes= 0-1\t, ,-2", ((0, 2), (8, 10))),
        ("bytes=0-1,20-30", ((0, 2),)),
        ("bytes=0-1,4-2", ((0, 2),)),
        ("bytes=0-1,", ((0, 2),)),
        ("bytes=0-4,2-6", ((0, 5), (2, 7))),
    ],
)
def test_multiple_ranges_are_returned_in_the_order_of_the_header(
    header: str, found: tuple[tuple[int, int], ...]
) -> None:
    assert requested_ranges(header, 10) == RequestedRanges(found, several=True)


@pytest.mark.parametrize(
    ("header", "size"),
    [
        ("bytes=10-", 10),
        ("bytes=-0", 10),
        ("bytes=0-", 0),
        ("bytes=4-2", 10),
        ("bytes=10-11,20-21", 10),
        ("bytes=0-1,3-4", 0),
    ],
)
def test_a_request_without_a_satisfiable_range_is_refused(header: str, size: int) -> None:
    with pytest.raises(falcon.HTTPRangeNotSatisfiable):
        requested_ranges(header, size)


def test_ranges_with_more_bytes_than_the_content_are_refused() -> None:
    with pytest.raises(TooManyRanges, match="overlap"):
        requested_ranges("bytes=0-,0-", 10)


def test_the_number_of_ranges_is_limited() -> None:
    texts = [f"{start}-{start}" for start in range(RANGES_MAXIMUM)]
    assert len(requested_ranges(f"bytes={','.join(texts)}", 10_000).ranges) == RANGES_MAXIMUM
    with pytest.raises(TooManyRanges, match="at most 1024"):
        requested_ranges(f"bytes={','.join(texts)},5000-", 10_000)
