"""An upload in chunks is bounded."""

from __future__ import annotations

import io

import pytest
from atoll.names import Digest
from atoll.registry import upload_records
from atoll.registry.errors import RangeOutOfOrder, SizeInvalid
from atoll.registry.upload_session import Body, Upload
from atoll.storage.base import blob_key

from .sites import SUPERUSER, MemoryRegistry, MemorySite


def append(site: MemorySite, upload: Upload, content: bytes) -> Upload:
    return site.graph.uploads.append(upload, Body(io.BytesIO(content), len(content)))


def test_a_chunk_beyond_the_maximum_is_refused_and_the_upload_stays_as_it_was(
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
    assert site.graph.uploads.finish(upload, digest, Body(io.BytesIO(), 0)) == upload.offset
    assert site.placements(digest) == {"us": "good"}


@pytest.mark.parametrize("whole", [b"first second", b"first "])
def test_an_outdated_state_does_not_finish_an_upload_that_has_chunks(
    registry: MemoryRegistry, whole: bytes
) -> None:
    site = registry["us"]
    begun = site.graph.uploads.start(site.repository, SUPERUSER)
    upload = site.graph.uploads.append(begun, Body(io.BytesIO(b"first "), 6))
    with pytest.raises(RangeOutOfOrder) as refused:
        site.graph.uploads.finish(begun, Digest.of(whole), Body(io.BytesIO(whole), len(whole)))
    assert refused.value.received == 6
    assert set(site.stores["us"].objects) - {"_location"} == {blob_key(Digest.of(b"first "))}
    digest = Digest.of(b"first second")
    assert site.graph.uploads.finish(upload, digest, Body(io.BytesIO(b"second"), 6)) == 12
    assert site.has_object("us", digest)
