"""Unreadable objects do not delay the copies of others much."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from atoll.names import Digest
from atoll.placement.tasks import Tasks
from atoll.replication import worker as worker_module
from atoll.storage.base import blob_key
from atoll.storage.errors import StoreUnavailable

from ..integration.services import wait_until
from .observed_stores import observed
from .sites import MemoryRegistry, make_registry

GOOD, BAD = 3000, 60


def put_blobs(registry: MemoryRegistry, count: int) -> list[Digest]:
    """Store `count` small blobs at us only, each with a task for eu."""
    contents = [b"%d of %d" % (number, count) for number in range(count)]
    digests = [Digest.of(content) for content in contents]
    for digest, content in zip(digests, contents, strict=True):
        registry.stores["us"].objects[blob_key(digest)] = content
    registry["us"].database.run(
        "WITH blob AS (INSERT INTO imagestorage (content_checksum, image_size)"
        " SELECT * FROM unnest(%(digests)s::text[], %(sizes)s::bigint[])"
        " RETURNING id, image_size),"
        " placed AS (INSERT INTO imagestorageplacement (storage_id, location_id)"
        " SELECT blob.id, l.id FROM blob, imagestoragelocation l WHERE l.name = 'us')"
        " INSERT INTO replicationtask (storage_id, location_id, image_size)"
        " SELECT blob.id, l.id, blob.image_size FROM blob, imagestoragelocation l"
        " WHERE l.name = 'eu' ORDER BY blob.id",
        {
            "digests": [str(digest) for digest in digests],
            "sizes": [len(content) for content in contents],
        },
    )
    return digests


def seconds_to_copy(registry: MemoryRegistry, digests: list[Digest]) -> float:
    """Copy `digests` from us to eu, and return the duration in seconds."""
    keys = {blob_key(digest) for digest in digests}
    with observed(registry["eu"]):
        worker = registry["eu"].worker()
        began = time.monotonic()
        worker.start()
        try:
            wait_until("all are copied", lambda: registry.stores["eu"].objects.keys() >= keys)
            return time.monotonic() - began
        finally:
            worker.stop()


def test_unreadable_objects_at_most_double_the_time_of_the_others(
    make_database: Callable[[], str], tmp_path: Path
) -> None:
    healthy = make_registry(make_database(), tmp_path / "healthy", ["us", "eu"])
    put_blobs(healthy, 1)
    healthy_digests = put_blobs(healthy, GOOD)
    registry = make_registry(make_database(), tmp_path / "unreadable", ["us", "eu"])
    put_blobs(registry, 1)
    digests = put_blobs(registry, GOOD + BAD)
    unreadable = digests[:: len(digests) // BAD][:BAD]
    registry.stores["us"].unreadable = {blob_key(digest) for digest in unreadable}
    good = [digest for digest in digests if digest not in set(unreadable)]
    assert len(good) == GOOD
    # At the same time: the load of the machine changes from one run to the next.
    with ThreadPoolExecutor() as pool:
        expected = pool.submit(seconds_to_copy, healthy, healthy_digests)
        found = pool.submit(seconds_to_copy, registry, good)
    assert found.result() < 2 * expected.result()
    attempts = registry["us"].database.read("SELECT attempts FROM replicationtask")
    assert len(attempts) == BAD


def test_an_unavailable_source_does_not_count_as_failure_of_its_blobs(
    registry: MemoryRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "POLL_SECONDS", 0.1)
    us, eu = registry["us"], registry["eu"]
    digests = [us.push(b"blob %d" % number) for number in range(50)]
    health = eu.locations.health
    claim = Tasks.claim_within

    def claim_just_before(tasks: Tasks, *arguments: object, **named: object) -> object:
        found = claim(tasks, *arguments, **named)  # type: ignore[arg-type]
        if found.tasks and not fallen:
            fallen.append(True)
            health.end_probe("us", StoreUnavailable("us", "down"))
        return found

    fallen: list[bool] = []
    monkeypatch.setattr(Tasks, "claim_within", claim_just_before)
    worker = eu.worker()
    worker.start()
    try:
        wait_until(
            "all were given back",
            lambda: (
                bool(fallen)
                and us.database.read(
                    "SELECT count(*) FROM replicationtask WHERE lease_token IS NULL"
                )
                == [[100]]
            ),
        )
        assert us.database.read(
            "SELECT count(*) FROM replicationtask"
            " WHERE attempts > 0 OR last_error IS NOT NULL OR available_at > clock_timestamp()"
        ) == [[0]]
        assert health.begin_probe("us")
        health.end_probe("us", None)
        wait_until("all are copied", lambda: all(eu.has_object("eu", d) for d in digests))
    finally:
        worker.stop()
