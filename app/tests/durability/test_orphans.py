"""No object is left behind, however an upload ends."""

from __future__ import annotations

import pytest
from atoll.names import Digest
from atoll.registry.errors import RangeOutOfOrder, UploadUnknown

from .sites import MemoryRegistry, MemorySite
from .uploads import age_uploads, begin_upload, bring_back, count_uploads, request_body, take_down

DATA = b"the same bytes"


def delete_leftovers(site: MemorySite) -> None:
    age_uploads(site, 3)
    site.graph.uploads.delete_leftovers()


def test_two_uploads_of_the_same_bytes_cancelled_concurrently_leave_no_object(
    registry: MemoryRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = registry["us"]
    first, second = (begin_upload(site, DATA) for _ in range(2))
    discard = site.graph.content.discard

    def discard_then_cancel_the_other(*arguments: object) -> bool:
        monkeypatch.undo()
        assert not discard(*arguments)  # type: ignore[arg-type]
        site.graph.uploads.cancel(site.repository, second.uuid)
        return False

    monkeypatch.setattr(site.graph.content, "discard", discard_then_cancel_the_other)
    site.graph.uploads.cancel(site.repository, first.uuid)
    assert (site.stores["us"].objects, count_uploads(site)) == ({}, 0)


def test_an_upload_of_a_deleted_repository_does_not_keep_the_object_of_another(
    registry: MemoryRegistry,
) -> None:
    site = registry["us"]
    first, second = (begin_upload(site, DATA) for _ in range(2))
    site.database.run("UPDATE blobupload SET repository_id = NULL WHERE uuid = %s", [first.uuid])
    site.graph.uploads.cancel(site.repository, second.uuid)
    assert site.stores["us"].objects == {}


def test_the_object_of_an_upload_cancelled_during_assembly_is_deleted(
    registry: MemoryRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = registry["us"]
    upload = begin_upload(site, b"first ", b"second")
    place = site.graph.blobs.place

    def place_after_the_cancellation(*arguments: object, **more: object) -> bool:
        site.graph.uploads.cancel(site.repository, upload.uuid)
        return place(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(site.graph.blobs, "place", place_after_the_cancellation)
    with pytest.raises(UploadUnknown):
        site.graph.uploads.finish(upload, Digest.of(b"first second"), request_body(b""))
    assert (site.stores["us"].objects, count_uploads(site)) == ({}, 0)


def test_an_upload_with_a_chunk_is_not_finished_in_one_request_with_an_old_state(
    registry: MemoryRegistry,
) -> None:
    site = registry["us"]
    old = begin_upload(site)
    site.graph.uploads.append(old, request_body(b"first chunk"))
    with pytest.raises(RangeOutOfOrder):
        site.graph.uploads.finish(old, Digest.of(DATA), request_body(DATA))
    delete_leftovers(site)
    assert not site.has_object("us", Digest.of(DATA))
    assert count_uploads(site) == 1


@pytest.mark.parametrize("first", [b"first", b""])
def test_a_chunk_that_could_be_neither_recorded_nor_deleted_is_deleted_later(
    registry: MemoryRegistry, first: bytes
) -> None:
    site = registry["us"]
    old = begin_upload(site, *([first] if first else []))
    site.graph.uploads.append(old, request_body(b"sent once"))

    def go_down(operation: str, _key: str) -> None:
        if operation == "delete":
            take_down(site, "us")

    site.stores["us"].fault = go_down
    with pytest.raises(RangeOutOfOrder):
        site.graph.uploads.append(old, request_body(b"sent again in another way"))
    site.stores["us"].fault = None
    bring_back(site, "us")
    assert len(site.stores["us"].objects) == (3 if first else 2)
    delete_leftovers(site)
    assert len(site.stores["us"].objects) == (2 if first else 1)
