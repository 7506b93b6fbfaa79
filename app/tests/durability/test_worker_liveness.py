"""A worker is healthy only while each of its threads runs."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import NoReturn

import falcon
import falcon.testing
import pytest
from atoll.db.pool import Database
from atoll.periodic import ThreadRegistry
from atoll.placement.tasks import Tasks
from atoll.replication import worker as worker_module
from atoll.replication.worker import Worker
from atoll.storage.multipart import PART_MINIMUM
from atoll.web.health import HealthProbe, WorkerHealth

from ..integration.services import wait_until
from .memory_store import MemoryStore
from .sites import MemoryRegistry


@pytest.fixture(autouse=True)
def _polls_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "POLL_SECONDS", 0.1)


@pytest.fixture
def clock() -> list[float]:
    return [0.0]


@pytest.fixture
def worker(registry: MemoryRegistry, clock: list[float]) -> Iterator[Worker]:
    """The worker of eu with a clock that a test advances; not started."""
    made = registry["eu"].worker(lease_seconds=0.3, monotonic=lambda: clock[0])
    yield made
    # A worker with a dead thread cannot be stopped in order; its other threads are daemons.
    made._stop.set()
    made._stopped.set()


def end_thread(*_arguments: object, **_named: object) -> NoReturn:
    # The only exception that ends a thread.
    raise SystemExit


def health(worker: Worker) -> int:
    health_probe = HealthProbe.__new__(HealthProbe)
    health_probe.database = True
    app = falcon.App()
    app.add_route(
        "/health/instance", WorkerHealth(health_probe, lambda: worker.alive, ThreadRegistry())
    )
    return falcon.testing.TestClient(app).simulate_get("/health/instance").status_code


@pytest.mark.parametrize(
    ("owner", "method", "thread"),
    [
        (Tasks, "claim_within", "claim"),
        (Tasks, "extend", "leases"),
        (Tasks, "finish", "finish"),
        (Database, "connect", "listener"),
        (MemoryStore, "put", "copy-0"),
    ],
)
def test_health_fails_after_a_thread_of_the_worker_died(
    registry: MemoryRegistry,
    worker: Worker,
    monkeypatch: pytest.MonkeyPatch,
    owner: type,
    method: str,
    thread: str,
) -> None:
    for number in range(8):
        registry["us"].push(b"blob %d" % number)
    if method == "extend":
        # A task must be held for the duration of the test.
        registry.stores["eu"].fault = lambda *_request: threading.Event().wait()
    elif method == "connect":
        # Only a new listener needs another connection; the pool has enough.
        registry["eu"].database.read("SELECT 1")
    monkeypatch.setattr(owner, method, end_thread)
    worker.start()
    wait_until("it is noticed", lambda: thread in worker._threads.silent())
    assert not worker.alive
    assert health(worker) == 503


def test_health_fails_while_a_thread_hangs(
    registry: MemoryRegistry, worker: Worker, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    registry["us"].push(b"blob")
    hung, over = threading.Event(), threading.Event()
    finish = Tasks.finish

    def hang(tasks: Tasks, batch: list[object]) -> object:
        hung.set()
        over.wait()
        return finish(tasks, batch)  # type: ignore[arg-type]

    monkeypatch.setattr(Tasks, "finish", hang)
    worker.start()
    hung.wait()
    assert worker.alive
    clock[0] += worker_module._SILENCE_SECONDS + 1
    wait_until("only that thread hangs", lambda: worker._threads.silent() == ["finish"])
    assert health(worker) == 503
    over.set()
    wait_until("it is healthy again", lambda: worker.alive)
    assert health(worker) == 200


def test_worker_stays_healthy_during_a_long_copy(
    registry: MemoryRegistry, worker: Worker, clock: list[float]
) -> None:
    digest = registry["us"].push(os.urandom(PART_MINIMUM + 1))
    copying, over = threading.Event(), threading.Event()

    def slow(operation: str, _key: str) -> None:
        if operation == "put_part":
            copying.set()
            over.wait()

    registry.stores["eu"].fault = slow
    worker.start()
    copying.wait()
    clock[0] += 10 * worker_module._SILENCE_SECONDS
    wait_until("the other threads report progress", lambda: worker.alive)
    over.set()
    wait_until("it is copied", lambda: registry["eu"].has_object("eu", digest))
