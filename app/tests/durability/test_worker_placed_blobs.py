"""A worker does not overwrite a blob that was pushed to its location meanwhile."""

from __future__ import annotations

import threading

import pytest
from atoll.placement.tasks import Tasks
from atoll.replication import worker as worker_module

from ..integration.services import wait_until
from .sites import MemoryRegistry


def tasks_for(registry: MemoryRegistry, location: str) -> int:
    return int(
        registry["us"].database.read(
            "SELECT count(*) FROM replicationtask t JOIN imagestoragelocation l"
            " ON l.id = t.location_id WHERE l.name = %s",
            [location],
        )[0][0]
    )


def test_a_push_to_a_location_deletes_the_task_for_it(
    registry: MemoryRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "POLL_SECONDS", 0.1)
    us, eu = registry["us"], registry["eu"]
    digest = us.push(b"content")
    assert tasks_for(registry, "eu") == 1
    assert eu.push(b"content") == digest
    assert tasks_for(registry, "eu") == 0
    assert tasks_for(registry, "ap") == 1
    worker = eu.worker()
    worker.start()
    later = us.push(b"later")
    wait_until("the later blob is copied", lambda: eu.has_object("eu", later))
    worker.stop()
    # One object by the push, one by the worker.
    assert registry.stores["eu"].requests["put"] == 2


def test_a_worker_that_is_copying_when_the_blob_is_pushed_loses_its_task(
    registry: MemoryRegistry,
) -> None:
    us, eu = registry["us"], registry["eu"]
    digest = us.push(b"content")
    tasks = Tasks(eu.database, "eu")
    held = tasks.claim()
    eu.push(b"content")
    assert tasks.extend(held) == set()
    assert tasks.finish(held) == set()
    assert eu.placements(digest) == {"us": "good", "eu": "good"}


def test_a_push_does_not_wait_for_a_worker_that_is_finishing(registry: MemoryRegistry) -> None:
    us, eu = registry["us"], registry["eu"]
    us.push(b"content")
    pushed = threading.Event()
    thread = threading.Thread(target=lambda: (eu.push(b"content"), pushed.set()))
    with us.database.transaction() as cursor:
        cursor.execute(
            "SELECT t.id FROM replicationtask t JOIN imagestoragelocation l"
            " ON l.id = t.location_id WHERE l.name = 'eu' FOR UPDATE OF t"
        )
        thread.start()
        thread.join()
        assert pushed.is_set()
