"""One object that its store cannot serve does not make the store unavailable for all others."""

from __future__ import annotations

import os

import pytest
from atoll.storage.base import blob_key
from atoll.storage.errors import StoreUnavailable

from ..integration.services import wait_until
from .observed_stores import observed
from .sites import MemoryRegistry

_UNAVAILABLE = ("store marked unavailable", "store marked read-only")


def test_sick_objects_do_not_stop_the_replication_of_healthy_ones(
    registry: MemoryRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    us, eu, store = registry["us"], registry["eu"], registry.stores["us"]
    sick = [us.push(os.urandom(100)) for _ in range(10)]
    healthy = [us.push(os.urandom(100)) for _ in range(100)]
    store.sick = {blob_key(digest) for digest in sick}
    with observed(eu):
        worker = eu.worker()
        worker.start()
        wait_until(
            "every healthy blob is copied",
            lambda: all(eu.has_object("eu", digest) for digest in healthy),
        )
        # The sick ones are retried meanwhile.
        wait_until("sick objects were read", lambda: len(_failures(caplog)) > len(sick))
        worker.stop()
    assert not set(caplog.messages) & set(_UNAVAILABLE)


def test_a_client_that_reads_a_sick_object_does_not_stop_pulls_of_others(
    registry: MemoryRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    us = registry["us"]
    with observed(us):
        sick, healthy = us.push(b"sick"), us.push(b"healthy")
        registry.stores["us"].sick = {blob_key(sick)}
        for _ in range(50):
            with pytest.raises(StoreUnavailable):
                _read(registry, sick)
            assert _read(registry, healthy) == b"healthy"
    assert not set(caplog.messages) & set(_UNAVAILABLE)


def test_a_write_that_is_answered_with_an_error_goes_to_the_next_location(
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
        wait_until("a writing probe settled it", lambda: not health.in_doubt("us"))
    assert registry.stores["us"].requests["probe_write"] > 1
    assert not set(caplog.messages) & set(_UNAVAILABLE)


def _read(registry: MemoryRegistry, digest: object) -> bytes:
    site = registry["us"]
    blob = site.graph.blobs.find(site.repository, digest)  # type: ignore[arg-type]
    return b"".join(site.graph.blobs.read(blob, 0, blob.size))


def _failures(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one for one in caplog.messages if one == "copy failed"]
