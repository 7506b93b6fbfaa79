"""Limits and states of uploads in chunks."""

from __future__ import annotations

import pytest
from atoll import round_trips
from atoll.db.shared_redis import SharedRedis
from atoll.names import Digest
from atoll.registry import upload_records
from atoll.registry.errors import RangeOutOfOrder, SizeInvalid
from atoll.registry.upload_session import Upload
from atoll.storage.base import blob_key

from .sites import SUPERUSER, MemoryRegistry, MemorySite
from .uploads import begin_upload, request_body


def append(site: MemorySite, upload: Upload, content: bytes) -> Upload:
    return site.graph.uploads.append(upload, request_body(content))


def test_a_chunk_beyond_the_maximum_is_refused_and_the_upload_is_unchanged(
    registry: MemoryRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = registry["us"]
    monkeypatch.setattr(upload_records, "CHUNKS_MAXIMUM", 3)
    upload = site.graph.uploads.start(site.repository, SUPERUSER)
    for content in (b"one ", b"two ", b"three"):
        upload = append(site, upload, content)
    with pytest.raises(SizeInvalid, match="larger chunks"):
        append(site, upload, b"four")
    digest = Digest.of(b"one two three")
    assert site.graph.uploads.finish(upload, digest, request_body(b"")) == upload.offset
    assert site.placements(digest) == {"us": "good"}


@pytest.mark.parametrize("content", [b"first second", b"first "])
def test_an_outdated_state_does_not_finish_an_upload_that_has_chunks(
    registry: MemoryRegistry, content: bytes
) -> None:
    site = registry["us"]
    begun = site.graph.uploads.start(site.repository, SUPERUSER)
    upload = site.graph.uploads.append(begun, request_body(b"first "))
    with pytest.raises(RangeOutOfOrder) as refused:
        site.graph.uploads.finish(begun, Digest.of(content), request_body(content))
    assert refused.value.received == 6
    assert set(site.stores["us"].objects) - {"_location"} == {blob_key(Digest.of(b"first "))}
    digest = Digest.of(b"first second")
    assert site.graph.uploads.finish(upload, digest, request_body(b"second")) == 12
    assert site.has_object("us", digest)


def test_a_blob_in_one_chunk_takes_one_round_trip_for_each_request(
    registry: MemoryRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    # These sites have no Redis; without it, each deletion of a cached value is recorded.
    monkeypatch.setattr(SharedRedis, "delete", lambda *_keys: None)
    site = registry["us"]
    uploads, digest = site.graph.uploads, Digest.of(b"content")
    # The first request opens the connection and creates the repository.
    begin_upload(site)
    round_trips.reset()
    upload = uploads.start(site.repository, SUPERUSER)
    assert round_trips.counts()[round_trips.DATABASE] == 1
    upload = append(site, upload, b"content")
    assert round_trips.counts()[round_trips.DATABASE] == 2
    assert uploads.finish(upload, digest, request_body(b"")) == 7
    assert round_trips.counts()[round_trips.DATABASE] == 3
    assert site.placements(digest) == {"us": "good"}


def test_the_state_after_the_first_chunk_does_not_finish_an_upload_with_further_chunks(
    registry: MemoryRegistry,
) -> None:
    site = registry["us"]
    begun = site.graph.uploads.start(site.repository, SUPERUSER)
    first = append(site, begun, b"first ")
    upload = append(site, first, b"second")
    digest = Digest.of(b"first ")
    with pytest.raises(RangeOutOfOrder) as refused:
        site.graph.uploads.finish(first, digest, request_body(b""))
    assert refused.value.received == 12
    assert site.placements(digest) == {}
    assert site.graph.uploads.finish(upload, Digest.of(b"first second"), request_body(b"")) == 12


def test_an_upload_without_its_clients_state_is_finished(registry: MemoryRegistry) -> None:
    site = registry["us"]
    upload = append(site, site.graph.uploads.start(site.repository, SUPERUSER), b"content")
    found = site.graph.uploads.find(site.repository, upload.uuid)
    digest = Digest.of(b"content")
    assert site.graph.uploads.finish(found, digest, request_body(b"")) == 7
    assert site.placements(digest) == {"us": "good"}
