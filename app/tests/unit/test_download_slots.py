"""Streamed responses are limited in total and per client, and release their slots."""

from __future__ import annotations

import gc

import pytest
from atoll.web.errors import TooManyDownloads
from atoll.web.v2.blob_stream import BlobStream
from atoll.web.v2.download_slots import DownloadSlots


def test_one_client_cannot_occupy_all_slots() -> None:
    slots = DownloadSlots(total=4, of_client=2)
    held = [slots.take("one"), slots.take("one")]
    with pytest.raises(TooManyDownloads):
        slots.take("one")
    held.append(slots.take("two"))
    held.append(slots.take("three"))
    with pytest.raises(TooManyDownloads):
        slots.take("four")
    held[0].release()
    held[0].release()
    held.append(slots.take("four"))
    with pytest.raises(TooManyDownloads):
        slots.take("five")


def test_closing_a_response_releases_its_slot_and_closes_its_read() -> None:
    slots = DownloadSlots(total=1)
    pieces = (piece for piece in (b"b", b"c"))
    stream = BlobStream("ranges", b"a", pieces, slots.take("one"))
    assert [next(stream), next(stream)] == [b"a", b"b"]
    stream.close()
    slots.take("two").release()
    assert list(pieces) == []


def test_an_unclosed_response_releases_its_slot_when_collected() -> None:
    slots = DownloadSlots(total=1)
    stream = BlobStream("ranges", b"", (b"" for _ in ()), slots.take("one"))
    del stream
    gc.collect()
    slots.take("two")
