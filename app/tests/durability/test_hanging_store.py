"""Pushes and pulls continue at the next location when a store stops answering.

A store hangs until the test releases it, so a test that completes proves that nothing waited.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from atoll.names import Digest
from atoll.registry.upload_session import Body
from atoll.storage.base import blob_key
from atoll.storage.errors import NoHealthyStore, StoreError, StoreTimeout

from ..integration.services import SECONDS, wait_until
from .memory_store import Fault, MemoryStore
from .observed_stores import observed
from .sites import SUPERUSER, MemoryRegistry, MemorySite
from .uploads import request_body

READS = {"read", "probe"}
WRITES = {"put", "put_part", "begin_parts", "probe_write"}


@contextmanager
def hanging(store: MemoryStore, operations: set[str] | None = None) -> Iterator[None]:
    """Block `operations` of a store, or all, until the context ends; then carry them out."""
    answers, waited = threading.Event(), []

    def wait(operation: str, key: str) -> None:
        del key
        if (operations is None or operation in operations) and not answers.wait(SECONDS):
            waited.append(operation)
            raise StoreTimeout(store.location, "no answer in time")

    store.fault = wait
    try:
        yield
    finally:
        store.fault = None
        answers.set()
    assert waited == []


@pytest.fixture
def us(registry: MemoryRegistry) -> Iterator[MemorySite]:
    with observed(registry["us"]):
        yield registry["us"]


def test_a_push_continues_at_the_next_location_when_the_store_hangs(us: MemorySite) -> None:
    with hanging(us.stores["us"]):
        digest = us.push(b"content")
        assert us.placements(digest) == {"eu": "good"}
        assert us.locations.selection.to_write() == "eu"
    health = us.locations.health
    wait_until("the store is trusted again", lambda: not health.in_doubt("us"))
    assert us.locations.selection.to_write() == "us"


def test_a_push_waits_for_a_busy_store_that_answers_probes(us: MemorySite) -> None:
    store, pushed = us.stores["us"], []
    with hanging(store, {"put"}):
        pushing = threading.Thread(target=lambda: pushed.append(us.push(b"content")))
        pushing.start()
        before = store.requests["probe_write"]
        # The first probe confirms that the store responds; without an answer, the write would be
        # abandoned within a dozen probes.
        wait_until("it was probed", lambda: store.requests["probe_write"] > before)
        before = store.requests["probe"]
        wait_until("probing continues", lambda: store.requests["probe"] > before + 6)
        assert pushed == []
    pushing.join()
    assert us.placements(pushed[0]) == {"us": "good"}


def test_a_push_continues_at_the_next_location_when_the_store_hangs_on_writes_only(
    us: MemorySite,
) -> None:
    with hanging(us.stores["us"], WRITES):
        digest = us.push(b"content")
        assert us.placements(digest) == {"eu": "good"}


def test_the_object_of_an_abandoned_write_is_intact_and_later_deleted(
    us: MemorySite,
) -> None:
    content = os.urandom(3_000_000)
    digest = Digest.of(content)
    with hanging(us.stores["us"]):
        upload = us.graph.uploads.start(us.repository, SUPERUSER)
        with tempfile.TemporaryFile() as spooled:
            spooled.write(content)
            us.graph.uploads.finish(upload, digest, Body(spooled, len(content)))
    wait_until("the write is carried out", lambda: us.has_object("us", digest))
    assert us.has_object("eu", digest)

    def cleared() -> bool:
        us.database.run("UPDATE blobupload SET changed_at = now() - interval '2 minutes'")
        us.graph.uploads.delete_leftovers()
        return blob_key(digest) not in us.stores["us"].objects

    wait_until("the object is deleted", cleared)
    assert us.placements(digest) == {"eu": "good"}
    assert us.has_object("eu", digest)


def test_chunks_are_assembled_at_the_next_location_when_the_store_hangs(us: MemorySite) -> None:
    chunks = [b"first ", b"second"]
    upload = us.graph.uploads.start(us.repository, SUPERUSER)
    with hanging(us.stores["us"]):
        for chunk in chunks:
            upload = us.graph.uploads.append(upload, request_body(chunk))
        digest = Digest.of(b"".join(chunks))
        us.graph.uploads.finish(upload, digest, request_body(b""))
    assert us.placements(digest) == {"eu": "good"}


def test_an_upload_fails_without_delay_when_its_chunks_are_at_a_hanging_store(
    us: MemorySite,
) -> None:
    upload = us.graph.uploads.start(us.repository, SUPERUSER)
    for chunk in (b"first ", b"second"):
        upload = us.graph.uploads.append(upload, request_body(chunk))
    digest = Digest.of(b"first second")
    with hanging(us.stores["us"]), pytest.raises(StoreError):
        us.graph.uploads.finish(upload, digest, request_body(b""))
    health = us.locations.health
    wait_until("the store is trusted again", lambda: not health.in_doubt("us"))
    us.graph.uploads.finish(upload, digest, request_body(b""))
    assert us.placements(digest) == {"us": "good"}


@pytest.mark.parametrize("operations", [None, READS], ids=["everything", "reads"])
def test_a_download_continues_at_the_next_location_when_the_store_hangs(
    registry: MemoryRegistry, us: MemorySite, operations: set[str] | None
) -> None:
    digest = us.push(b"content")
    worker = registry["eu"].worker()
    worker.start()
    wait_until("it is copied", lambda: us.has_object("eu", digest))
    wait_until("it is placed", lambda: len(us.placements(digest)) > 1)
    worker.stop()
    blob = us.graph.blobs.find(us.repository, digest)
    with hanging(us.stores["us"], operations):
        assert b"".join(us.graph.blobs.read(blob, 0, blob.size)) == b"content"


def silent_puts(store: MemoryStore, number: int) -> None:
    """Make the next `number` puts of a store time out, as those of a busy store do."""
    left = [number]

    def fail(operation: str, key: str) -> None:
        del key
        if operation == "put" and left[0] > 0:
            left[0] -= 1
            raise StoreTimeout(store.location, "no answer in time")

    store.fault = fail


def test_a_push_is_retried_at_a_busy_store_when_no_location_responds(us: MemorySite) -> None:
    for store in us.stores.values():
        silent_puts(store, 1)
    digest = us.push(b"content")
    assert list(us.placements(digest).values()) == ["good"]


def test_a_push_is_refused_when_stores_do_not_respond_to_retries(us: MemorySite) -> None:
    for store in us.stores.values():
        silent_puts(store, 1_000)
    with pytest.raises(NoHealthyStore):
        us.push(b"content")


def test_a_push_is_not_retried_at_a_store_that_refused_it(us: MemorySite) -> None:
    us.stores["us"].down = True
    for location in ("eu", "ap"):
        silent_puts(us.stores[location], 1)
    digest = us.push(b"content")
    assert us.placements(digest).keys() <= {"eu", "ap"}
    assert us.stores["us"].requests["put"] == 1


def test_a_chunk_is_never_written_twice_under_one_key(us: MemorySite) -> None:
    # The first of two writes may be carried out after the second, and its object be deleted.
    keys = []
    upload = us.graph.uploads.start(us.repository, SUPERUSER)
    upload = us.graph.uploads.append(upload, request_body(b"first "))
    for store in us.stores.values():
        silent_puts(store, 1)
        fail = store.fault

        def note(operation: str, key: str, fail: Fault = fail) -> None:
            if operation == "put":
                keys.append(key)
            fail(operation, key)

        store.fault = note
    us.graph.uploads.append(upload, request_body(b"second"))
    assert len(set(keys)) == len(keys) == len(us.stores) + 1


def test_chunks_are_assembled_at_a_busy_store_when_no_location_responds(
    us: MemorySite,
) -> None:
    upload = us.graph.uploads.start(us.repository, SUPERUSER)
    for chunk in (b"first ", b"second"):
        upload = us.graph.uploads.append(upload, request_body(chunk))
    for store in us.stores.values():
        silent_puts(store, 1)
    digest = Digest.of(b"first second")
    us.graph.uploads.finish(upload, digest, request_body(b""))
    assert list(us.placements(digest).values()) == ["good"]
