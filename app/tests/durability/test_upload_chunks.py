"""An upload in chunks is bounded."""

from __future__ import annotations

import io

import pytest
from atoll.names import Digest
from atoll.registry import uploads
from atoll.registry.errors import SizeInvalid
from atoll.registry.uploads import Body, Upload

from .sites import SUPERUSER, MemoryRegistry, MemorySite


def append(site: MemorySite, upload: Upload, content: bytes) -> Upload:
    return site.graph.uploads.append(upload, Body(io.BytesIO(content), len(content)))


def test_a_chunk_beyond_the_maximum_is_refused_and_the_upload_stays_as_it_was(
    registry: MemoryRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = registry["us"]
    monkeypatch.setattr(uploads, "CHUNKS_MAXIMUM", 3)
    upload = site.graph.uploads.start(site.repository, SUPERUSER)
    for content in (b"one ", b"two ", b"three"):
        upload = append(site, upload, content)
    with pytest.raises(SizeInvalid, match="larger chunks"):
        append(site, upload, b"four")
    digest = Digest.of(b"one two three")
    assert site.graph.uploads.finish(upload, digest, Body(io.BytesIO(), 0)) == upload.offset
    assert site.placements(digest) == {"us": "good"}
