"""Limits and states of uploads in chunks."""

from __future__ import annotations

import pytest
from atoll.names import Digest
from atoll.registry import upload_records
from atoll.registry.errors import RangeOutOfOrder, SizeInvalid
from atoll.registry.upload_session import Upload
from atoll.storage.base import blob_key

from .sites import SUPERUSER, MemoryRegistry, MemorySite
from .uploads import request_body


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
