"""A probe compares the bytes of an object; a successful status alone proves nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from atoll.config.stores import LocalSettings, RadosGatewaySettings
from atoll.storage.errors import (
    InvalidStoreResponse,
    StoreFull,
    StoreRefused,
    StoreUnavailable,
    WriteNotProven,
)
from atoll.storage.health import StoreHealth
from atoll.storage.local import LocalObjectStore
from atoll.storage.probe import COMPARISON_INTERVAL, PROBE_KEY, Probe
from atoll.storage.prober import Prober
from atoll.storage.s3.driver import S3ObjectStore

from .clock import Clock
from .s3_server import PAGE, S3Server, gateway_of, s3_server
from .small_objects import SmallObjects

KEY = f"/bucket/registry/{PROBE_KEY}"


@pytest.fixture
def small() -> SmallObjects:
    return SmallObjects()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def probe(small: SmallObjects, clock: Clock) -> Probe:
    probe = Probe(small, monotonic=clock)
    probe.run(write=True)
    # The first probe wrote the marker, so this one compares.
    probe.run(write=False)
    small.requests.clear()
    return probe


def test_the_probe_object_of_a_healthy_store_is_compared_once_a_minute(
    small: SmallObjects, clock: Clock, probe: Probe
) -> None:
    for _ in range(10):
        probe.run(write=False)
    assert small.requests == ["check_bucket"] * 10
    clock.now += COMPARISON_INTERVAL
    small.requests.clear()
    for _ in range(10):
        probe.run(write=False)
    assert small.requests.count("check_bucket") == 10
    assert 0 < small.requests.count("read") < 5
    assert "write" not in small.requests


def test_every_write_probe_has_different_bytes(small: SmallObjects, probe: Probe) -> None:
    before = small.objects[PROBE_KEY]
    probe.run(write=True)
    assert small.objects[PROBE_KEY] != before
    assert b"us" in before


def test_a_failed_comparison_is_repeated_until_it_succeeds(
    small: SmallObjects, clock: Clock, probe: Probe
) -> None:
    clock.now += COMPARISON_INTERVAL
    kept = small.objects[PROBE_KEY]
    small.written = lambda key: small.objects.update({key: PAGE})
    small.objects[PROBE_KEY] = PAGE
    for _ in range(3):
        with pytest.raises(InvalidStoreResponse):
            probe.run(write=False)
    small.objects[PROBE_KEY] = kept
    probe.run(write=False)


@pytest.mark.parametrize("found", [None, b"ok", b"testing 123"])
def test_a_missing_or_foreign_probe_object_is_written_again(
    small: SmallObjects, clock: Clock, probe: Probe, found: bytes | None
) -> None:
    clock.now += COMPARISON_INTERVAL
    small.objects.pop(PROBE_KEY)
    if found is not None:
        small.objects[PROBE_KEY] = found
    probe.run(write=False)
    assert small.objects[PROBE_KEY].startswith(b"atoll probe")


@pytest.mark.parametrize("failure", [StoreFull("us", "full"), StoreRefused("us", "read-only")])
def test_a_store_that_refuses_writes_is_readable(
    small: SmallObjects, probe: Probe, failure: StoreUnavailable
) -> None:
    small.failure = failure
    for found in (small.objects.get(PROBE_KEY), None, b"ok"):
        small.objects = {} if found is None else {PROBE_KEY: found}
        with pytest.raises(type(failure)):
            probe.run(write=True)
        probe.run(write=False)
    small.objects[PROBE_KEY] = PAGE
    for write in (True, False):
        with pytest.raises(type(failure)):
            probe.run(write=write)


def test_a_dropped_write_is_detected(small: SmallObjects, probe: Probe) -> None:
    kept = small.objects[PROBE_KEY]
    small.written = lambda key: small.objects.update({key: kept})
    with pytest.raises(WriteNotProven):
        probe.run(write=True)
    small.written = small.objects.pop  # type: ignore[assignment]
    with pytest.raises(WriteNotProven):
        probe.run(write=True)


def test_concurrent_probes_do_not_make_each_other_fail(small: SmallObjects) -> None:
    failures: list[Exception] = []

    def run() -> None:
        try:
            for _ in range(200):
                Probe(small).run(write=True)
        except StoreUnavailable as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


@pytest.fixture
def server() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


def test_a_front_end_that_answers_every_request_is_unavailable_after_one_comparison(
    server: S3Server,
) -> None:
    settings = RadosGatewaySettings.model_validate(gateway_of(server))
    store, health, clock = S3ObjectStore("us", settings), StoreHealth(["us"]), Clock()
    store._probe = Probe(store, monotonic=clock)
    prober = Prober({"us": store}, health)
    prober.probe_once(store)
    prober.probe_once(store)
    assert health.state("us").healthy
    server.page = PAGE
    clock.now += COMPARISON_INTERVAL
    for _ in range(3):
        prober.probe_once(store)
    assert not health.is_up("us")
    # It is not mistaken for a read-only store.
    prober.probe_once(store)
    assert not health.is_up("us")
    server.page = None
    prober.probe_once(store)
    assert health.state("us").healthy


def test_a_front_end_that_answers_every_request_from_the_start_is_never_available(
    server: S3Server,
) -> None:
    settings = RadosGatewaySettings.model_validate(gateway_of(server))
    store, health = S3ObjectStore("us", settings), StoreHealth(["us"])
    server.page = PAGE
    Prober({"us": store}, health).probe_once(store)
    assert not health.is_up("us")


def test_the_probe_object_of_a_directory_is_compared(tmp_path: object) -> None:
    store = LocalObjectStore("us", LocalSettings(storage_path=f"{tmp_path}/store"))
    clock = Clock()
    store._probe = Probe(store, monotonic=clock)
    store.probe(write=True)
    store.probe(write=False)
    assert store.read_small(PROBE_KEY) is not None
    store.delete(PROBE_KEY)
    assert store.read_small(PROBE_KEY) is None
