"""The documents of upstreams take a bounded amount of memory."""

from __future__ import annotations

import json
import tracemalloc

import pytest
from atoll.json_bounds import DEPTH_MAXIMUM
from atoll.upstream.bounded_json import check_structure, parsed
from atoll.upstream.errors import InvalidContent, TooLarge, UpstreamError


def _list(values: int) -> bytes:
    """Return a document with a number of values, as they are counted."""
    return json.dumps({"tags": ['a,[{\\"'] * (values - 1)}).encode()


def _nested(depth: int) -> bytes:
    return b'{"a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


def test_a_document_has_the_permitted_number_of_values_at_most() -> None:
    with parsed(_list(1000), "it", values=1000) as document:
        assert document["tags"] == ['a,[{\\"'] * 999
    with pytest.raises(TooLarge, match="it has more than 1000 values"):
        check_structure(_list(1001), "it", values=1000)


def test_objects_and_lists_count_as_values() -> None:
    check_structure(b'{"a": [{}, {}]}', "it", values=5)
    with pytest.raises(TooLarge):
        check_structure(b'{"a": [{}, {}]}', "it", values=4)


def test_a_document_is_nested_as_deeply_as_permitted_at_most() -> None:
    with parsed(_nested(DEPTH_MAXIMUM), "it"):
        pass
    with pytest.raises(TooLarge, match="it is nested more than 32 levels deep"):
        check_structure(_nested(DEPTH_MAXIMUM + 1), "it")


@pytest.mark.parametrize(
    "body",
    [b"{},", b"[],", b'{"a":', b'""', b'"', b'"\\', b'"\\"', b"\\", b"]", b'{"a":1},', b"1,"],
)
def test_a_hostile_document_is_refused_in_constant_memory(body: bytes) -> None:
    body *= 1_000_000 // len(body)
    tracemalloc.start()
    try:
        with pytest.raises(UpstreamError), parsed(body, "it", values=1000):
            pass
        # The text of the document itself may be decoded.
        assert tracemalloc.get_traced_memory()[1] < 2 * len(body)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("body", [b"", b"[]", b'"a"', b"{", b"\xff", b'{"a": 1}}', b"NaN"])
def test_a_document_that_is_no_object_is_invalid(body: bytes) -> None:
    with pytest.raises(InvalidContent) as failed, parsed(body, "it"):
        pass
    assert type(failed.value) is InvalidContent
    # The next document can be parsed.
    with parsed(b"{}", "it") as document:
        assert document == {}
