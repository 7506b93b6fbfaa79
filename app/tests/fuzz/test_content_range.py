"""The Content-Range of a chunk is parsed to its positions, or to None."""

from __future__ import annotations

from atoll.web.v2.content_range import parse_content_range
from hypothesis import strategies as st

from .fuzzing import fuzz
from .mutation import header_values

_NUMBER = st.integers(0, 10**18 - 1)
VALID = st.builds(
    "{}{}-{}{}".format,
    st.sampled_from(["", "bytes "]),
    _NUMBER,
    _NUMBER,
    st.sampled_from(["", "/*", "/1000"]),
)


def check(header: str) -> None:
    found = parse_content_range(header)
    if found is None:
        return
    start, end = found
    assert 0 <= start < 10**18
    assert 0 <= end < 10**18


def test_any_content_range_is_parsed_or_ignored() -> None:
    fuzz(check, header_values(VALID))


def test_every_valid_content_range_is_parsed() -> None:
    def read(start: int, length: int) -> None:
        for text in (f"{start}-{start + length}", f"bytes {start}-{start + length}/*"):
            assert parse_content_range(text) == (start, start + length)

    fuzz(read, st.integers(0, 10**17), st.integers(0, 10**17), share=0.1)
