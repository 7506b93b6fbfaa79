"""Multipart responses to several ranges: framing, reads from the store, and limits."""

from __future__ import annotations

import email
import email.policy
import random
from collections.abc import Generator

import pytest
from atoll.web.errors import TooManyRanges
from atoll.web.v2.byte_range import requested_ranges
from atoll.web.v2.multipart_ranges import (
    DISCARDED_FACTOR,
    DISCARDED_FREE,
    GAP_MAXIMUM,
    READS_MAXIMUM,
    MultipartRanges,
)
from hypothesis import given
from hypothesis import strategies as st

SIZE = 1_000_000
BLOB = random.Random(1).randbytes(SIZE)


class Store:
    """Serves BLOB and records its reads."""

    def __init__(self, piece: int = 100_000) -> None:
        self.reads: list[tuple[int, int]] = []
        self.closed = 0
        self._piece = piece

    def read(self, start: int, end: int) -> Generator[bytes, None, None]:
        self.reads.append((start, end))
        try:
            for position in range(start, end, self._piece):
                yield BLOB[position : min(position + self._piece, end)]
        finally:
            self.closed += 1


def _parse(content_type: str, body: bytes) -> list[tuple[str, bytes]]:
    """Return the Content-Range and the content of each part, as Python's own parser reads them."""
    head = f"MIME-Version: 1.0\r\nContent-Type: {content_type}\r\n\r\n".encode()
    message = email.message_from_bytes(head + body, policy=email.policy.HTTP)
    assert message.get_content_type() == "multipart/byteranges"
    parts = []
    for part in message.iter_parts():  # type: ignore[attr-defined]
        assert part.get_content_type() == "application/octet-stream"
        parts.append((part["Content-Range"], part.get_payload(decode=True)))
    return parts


_RANGES = st.lists(
    st.tuples(st.integers(0, SIZE - 1), st.integers(1, 5000)), min_size=2, max_size=20
)


@given(_RANGES, st.integers(1, 20_000))
def test_any_ranges_can_be_reassembled_from_the_response(
    places: list[tuple[int, int]], piece: int
) -> None:
    header = ",".join(f"{start}-{start + length - 1}" for start, length in places)
    ranges = requested_ranges(f"bytes={header}", SIZE).ranges
    store = Store(piece)
    multipart = MultipartRanges(ranges, SIZE)
    body = b"".join(multipart.body(store.read))
    assert len(body) == multipart.content_length
    assert store.closed == len(store.reads)
    assert _parse(multipart.content_type, body) == [
        (f"bytes {start}-{end - 1}/{SIZE}", BLOB[start:end]) for start, end in ranges
    ]


def test_the_first_piece_contains_bytes_of_the_blob() -> None:
    """So that a store failure is detected before the status is sent."""
    multipart = MultipartRanges([(5, 10), (20, 30)], SIZE)
    assert next(multipart.body(Store().read)).endswith(BLOB[5:10])


def test_adjacent_ranges_are_read_in_one_request() -> None:
    far = 10 + GAP_MAXIMUM
    ranges = [(0, 5), (5, 6), (9, 10), (far, far + 1), (far + 2 + GAP_MAXIMUM, SIZE)]
    store = Store()
    b"".join(MultipartRanges(ranges, SIZE).body(store.read))
    assert store.reads == [(0, far + 1), (far + 2 + GAP_MAXIMUM, SIZE)]


def test_descending_and_overlapping_ranges_are_read_separately() -> None:
    store = Store()
    b"".join(MultipartRanges([(50, 60), (0, 10), (5, 15)], SIZE).body(store.read))
    assert store.reads == [(50, 60), (0, 10), (5, 15)]


def test_scattered_ranges_are_refused() -> None:
    distance = GAP_MAXIMUM + 2
    ranges = [(number * distance, number * distance + 1) for number in range(READS_MAXIMUM + 1)]
    size = distance * len(ranges)
    MultipartRanges(ranges[:-1], size)
    with pytest.raises(TooManyRanges, match="at most 128"):
        MultipartRanges(ranges, size)


def test_closing_a_response_closes_its_read() -> None:
    store = Store(1)
    body = MultipartRanges([(0, 10), (20, 30)], SIZE).body(store.read)
    next(body)
    body.close()
    assert (store.reads, store.closed) == ([(0, 30)], 1)


def test_many_small_ranges_discard_few_bytes() -> None:
    read = 0

    def zeros(start: int, end: int) -> Generator[bytes, None, None]:
        nonlocal read
        read += end - start
        yield bytes(end - start)

    ranges = [(start, start + 1) for start in range(0, 100 * GAP_MAXIMUM, GAP_MAXIMUM)]
    for _ in MultipartRanges(ranges, 100 * GAP_MAXIMUM).body(zeros):
        pass
    assert read - len(ranges) <= DISCARDED_FREE + DISCARDED_FACTOR * len(ranges)
