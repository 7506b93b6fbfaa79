"""Ranges are read as RFC 9110 says."""

from __future__ import annotations

import falcon
import pytest
from atoll.web.v2.byte_range import requested_range


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=2-4", (2, 5)),
        ("bytes=2-", (2, 10)),
        ("bytes=2-99", (2, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-99", (0, 10)),
        (None, None),
        ("bytes=", None),
        ("bytes=-", None),
        ("bytes=" + "9" * 5000 + "-", None),
        ("bytes=0-1,3-4", None),
        ("lines=0-1", None),
    ],
)
def test_a_range_is_found_or_all_is_sent(header: str | None, found: object) -> None:
    assert requested_range(header, 10) == found


@pytest.mark.parametrize(
    ("header", "size"),
    [("bytes=10-", 10), ("bytes=-0", 10), ("bytes=0-", 0), ("bytes=4-2", 10)],
)
def test_a_range_without_a_byte_is_refused(header: str, size: int) -> None:
    with pytest.raises(falcon.HTTPRangeNotSatisfiable):
        requested_range(header, size)
