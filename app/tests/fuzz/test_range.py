"""Range headers yield ranges within the content and a body of these, or are refused."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Generator
from contextlib import suppress

import falcon
from atoll.web.errors import TooManyRanges
from atoll.web.v2.byte_range import RANGES_MAXIMUM, WHOLE, requested_ranges
from atoll.web.v2.multipart_ranges import MultipartRanges
from hypothesis import strategies as st

from .answers import assert_sendable
from .fuzzing import assert_linear, fuzz
from .mutation import header_values

_NUMBER = st.integers(0, 300).map(str)
_RANGE = st.builds("{}-{}".format, _NUMBER, _NUMBER | st.just("")) | _NUMBER.map("-{}".format)
VALID = st.lists(_RANGE, min_size=1, max_size=40).map(lambda ranges: f"bytes={','.join(ranges)}")
CONTENT = bytes(range(256))


def _read(start: int, end: int) -> Generator[bytes, None, None]:
    assert 0 <= start < end <= len(CONTENT)
    for position in range(start, end, 7):
        yield CONTENT[position : min(position + 7, end)]


def check(header: str, size: int) -> None:
    try:
        requested = requested_ranges(header, size)
    except falcon.HTTPRangeNotSatisfiable:
        return
    except TooManyRanges as error:
        assert_sendable(error)
        return
    assert len(requested.ranges) <= RANGES_MAXIMUM
    assert all(0 <= start < end <= size for start, end in requested.ranges)
    assert sum(end - start for start, end in requested.ranges) <= size
    assert requested.ranges or requested == WHOLE
    if len(requested.ranges) > 1:
        _check_body(list(requested.ranges), size)


def _check_body(ranges: list[tuple[int, int]], size: int) -> None:
    multipart = MultipartRanges(ranges, size)
    body = b"".join(multipart.body(_read))
    assert len(body) == multipart.content_length
    head = f"MIME-Version: 1.0\r\nContent-Type: {multipart.content_type}\r\n\r\n".encode()
    message = email.message_from_bytes(head + body, policy=email.policy.HTTP)
    assert (
        [
            (part["Content-Range"], part.get_payload(decode=True))
            for part in message.iter_parts()  # type: ignore[attr-defined]
        ]
        == [(f"bytes {start}-{end - 1}/{size}", CONTENT[start:end]) for start, end in ranges]
    )


def test_any_range_header_is_satisfied_or_refused() -> None:
    fuzz(check, header_values(VALID), st.integers(0, len(CONTENT)))


def test_a_long_header_is_parsed_in_linear_time() -> None:
    def parse(text: str) -> None:
        with suppress(TooManyRanges, falcon.HTTPRangeNotSatisfiable):
            requested_ranges(f"bytes={text}", 10**9)

    for piece in ("0-0,", ",", " ,\t", "-", "9", "0-0;"):
        assert_linear(parse, lambda size, piece=piece: piece * size, 2000)
