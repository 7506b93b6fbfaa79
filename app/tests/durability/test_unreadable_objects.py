"""An unreadable object does not make its store unavailable for others."""

from __future__ import annotations

import os

import pytest
from atoll.storage.base import blob_key
from atoll.storage.errors import StoreUnavailable

from ..integration.services import wait_until
from .observed_stores import observed
from .sites import MemoryRegistry

_UNAVAILABLE = ("store marked unavailable", "store marked read-only")


def test_unreadable_objects_do_not_stop_the_replication_of_others(
    registry: MemoryRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    us, eu, store = registry["us"], registry["eu"], registry.stores["us"]
    unreadable = [us.push(os.urandom(100)) for _ in range(10)]
    readable = [us.push(os.urandom(100)) for _ in range(100)]
    store.unreadable = {blob_key(digest) for digest in unreadable}
    with observed(eu):
        worker = eu.worker()
        worker.start()
        wait_until(
            "every readable blob is copied",
            lambda: all(eu.has_object("eu", digest) for digest in readable),
        )
        # The unreadable ones are retried meanwhile.
        wait_until(
            "unreadable objects were retried", lambda: len(_failures(caplog)) > len(unreadable)
        )
        worker.stop()
    assert not set(caplog.messages) & set(_UNAVAILABLE)


def test_repeated_reads_of_an_unreadable_object_do_not_stop_other_pulls(
    registry: MemoryRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    us = registry["us"]
    with observed(us):
        unreadable, readable = us.push(b"unreadable"), us.push(b"readable")
        registry.stores["us"].unreadable = {blob_key(unreadable)}
        for _ in range(50):
            with pytest.raises(StoreUnavailable):
                _read(registry, unreadable)
            assert _read(registry, readable) == b"readable"
    assert not set(caplog.messages) & set(_UNAVAILABLE)


def test_a_failed_write_continues_at_the_next_location(
    registry: MemoryRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    us = registry["us"]

    def fail_one(operation: str, key: str) -> None:
        if operation == "put" and key.startswith("sha256"):
            raise StoreUnavailable("us", "it answered 500")

    with observed(us):
        registry.stores["us"].fault = fail_one
        digest = us.push(b"content")
        assert us.placements(digest) == {"eu": "good"}
        health = us.locations.health
        wait_until("a write probe resolved the doubt", lambda: not health.in_doubt("us"))
    assert registry.stores["us"].requests["probe_write"] > 1
    assert not set(caplog.messages) & set(_UNAVAILABLE)


def _read(registry: MemoryRegistry, digest: object) -> bytes:
    site = registry["us"]
    blob = site.graph.blobs.find(site.repository, digest)  # type: ignore[arg-type]
    return b"".join(site.graph.blobs.read(blob, 0, blob.size))


def _failures(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one for one in caplog.messages if one == "copy failed"]
