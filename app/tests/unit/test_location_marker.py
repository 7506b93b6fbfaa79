"""A marker ties a store to one location; other locations neither write nor delete there."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from atoll.config.stores import LocalSettings, RadosGatewaySettings
from atoll.storage.base import ObjectStore
from atoll.storage.errors import InvalidStoreResponse, LocationMismatch, StoreError
from atoll.storage.health import StoreHealth
from atoll.storage.local import LocalObjectStore
from atoll.storage.location_marker import MARKER_KEY, require_own
from atoll.storage.observed_store import ObservedStore
from atoll.storage.probe import COMPARISON_INTERVAL, PROBE_KEY, Probe
from atoll.storage.prober import Prober
from atoll.storage.purge import delete_objects
from atoll.storage.s3.driver import S3ObjectStore

from .clock import Clock
from .s3_server import S3Server, gateway_of, s3_server
from .small_objects import SmallObjects

MARKER = f"/bucket/registry/{MARKER_KEY}"
BLOB = "/bucket/registry/sha256/ab/abcd"


@pytest.fixture
def server() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture
def health() -> StoreHealth:
    return StoreHealth(["us", "eu"])


Make = Callable[[str], ObservedStore]


@pytest.fixture(params=["S3", "directory"])
def make(
    request: pytest.FixtureRequest, server: S3Server, health: StoreHealth, tmp_path: Path
) -> Make:
    """Return a function that makes the store of a location; all share one bucket or directory."""

    def make(location: str) -> ObservedStore:
        if request.param == "S3":
            settings = RadosGatewaySettings.model_validate(gateway_of(server))
            return S3ObjectStore(location, settings, observe=health.observe)
        directory = LocalSettings(storage_path=str(tmp_path / "store"))
        return LocalObjectStore(location, directory, observe=health.observe)

    return make


def test_the_first_write_probe_marks_the_store(make: Make) -> None:
    us = make("us")
    us.put("sha256/ab/abcd", b"adopted from Quay", 17)
    us.probe(write=True)
    assert json.loads(b"".join(us.read(MARKER_KEY))) == {"location": "us"}
    make("us").probe(write=True)
    require_own(us)


CHANGES: dict[str, Callable[[ObjectStore], object]] = {
    "put": lambda store: store.put("sha256/ab/abcd", b"new", 3),
    "a file": lambda store: store.put("sha256/ab/abcd", io.BytesIO(b"new"), 3),
    "delete": lambda store: store.delete("sha256/ab/abcd"),
    "begin": lambda store: store.begin_parts("sha256/ab/abcd"),
    "part": lambda store: store.put_part("sha256/ab/abcd", "upload", 1, b"new", 3),
}


def test_a_store_marked_by_another_location_is_read_only(make: Make, health: StoreHealth) -> None:
    us, eu = make("us"), make("eu")
    prober = Prober({"us": us, "eu": eu}, health)
    prober.probe_once(us)
    us.put("sha256/ab/abcd", b"content", 7)
    verified = b"".join(us.read(PROBE_KEY))
    for _ in range(4):
        prober.probe_once(eu)
        state = health.state("eu")
        assert (state.up, state.read_only) == (True, True)
        assert "'us'" in str(state.cause)
        assert MARKER_KEY in str(state.cause)
    assert b"".join(eu.read("sha256/ab/abcd")) == b"content"
    for change in CHANGES.values():
        with pytest.raises(LocationMismatch, match=r"'eu'.*'us'"):
            change(eu)
    assert b"".join(us.read("sha256/ab/abcd")) == b"content"
    assert b"".join(us.read(PROBE_KEY)) == verified
    # A refusal does not make the store unhealthy.
    assert health.is_up("eu")
    assert health.state("us").healthy
    with pytest.raises(LocationMismatch):
        require_own(eu)


def test_a_store_is_writable_once_the_marker_of_its_former_location_is_deleted(
    make: Make, health: StoreHealth
) -> None:
    old, new = make("us"), make("eu")
    prober = Prober({"eu": new}, health)
    old.probe(write=True)
    prober.probe_once(new)
    assert not health.is_writable("eu")
    old.delete(MARKER_KEY)
    prober.probe_once(new)
    assert health.state("eu").healthy
    new.put("sha256/ab/abcd", b"new", 3)


def test_purging_a_store_deletes_its_marker(make: Make) -> None:
    us = make("us")
    us.probe(write=True)
    us.put("sha256/ab/abcd", b"old", 3)
    keys = {MARKER_KEY, PROBE_KEY, "sha256/ab/abcd"}
    assert {stored.key for stored in us.list_objects("")} == keys
    for _ in delete_objects(us):
        continue
    assert list(us.list_objects("")) == []


def test_a_malformed_marker_is_reported_as_misbehaviour_of_the_store(make: Make) -> None:
    us = make("us")
    for content in (b"", b"<html>", b"[]", b'{"location": 1}'):
        us.put(MARKER_KEY, content, len(content))
        with pytest.raises(InvalidStoreResponse, match=MARKER_KEY):
            us.probe(write=True)


def test_a_read_only_store_needs_no_marker(server: S3Server, health: StoreHealth) -> None:
    settings = RadosGatewaySettings.model_validate(gateway_of(server))
    store = S3ObjectStore("us", settings, observe=health.observe)
    server.writable = False
    Prober({"us": store}, health).probe_once(store)
    state = health.state("us")
    assert (state.up, state.read_only) == (True, True)
    assert server.objects == {}


def test_a_later_marker_of_another_location_is_detected_within_a_minute(
    make: Make, health: StoreHealth
) -> None:
    us, clock = make("us"), Clock()
    us._probe = Probe(us, monotonic=clock)
    prober = Prober({"us": us}, health)
    for _ in range(3):
        prober.probe_once(us)
    assert health.state("us").healthy
    content = b'{"location": "eu"}'
    us.put(MARKER_KEY, content, len(content))
    clock.now += COMPARISON_INTERVAL
    for _ in range(4):
        prober.probe_once(us)
    state = health.state("us")
    assert (state.up, state.read_only) == (True, True)
    with pytest.raises(StoreError):
        us.delete("sha256/ab/abcd")


def test_one_of_two_locations_that_mark_a_store_concurrently_is_refused() -> None:
    """Even if the store lacks conditional writes and each location read back its own marker."""
    one, other = SmallObjects(), SmallObjects()
    one.location, other.location = "us", "eu"
    other.objects = one.objects
    # Neither has seen a marker when the first one has written its own and read it back.
    probes = [Probe(one), Probe(other)]
    other.written = lambda _key: None
    seen: list[str] = []

    def interrupt(key: str) -> None:
        if key == PROBE_KEY and not seen:
            seen.append(key)
            other.objects.pop(MARKER_KEY)
            probes[1].run(write=True)
            # The second probe overwrote the probe object; restore that of the first.
            one.objects[PROBE_KEY] = mine

    mine = b""

    def write_small(key: str, data: bytes, *, new: bool = False) -> None:
        nonlocal mine
        del new
        one.objects[key] = data
        mine = data if key == PROBE_KEY else mine
        interrupt(key)

    one.write_small = write_small  # type: ignore[method-assign]
    probes[0].run(write=True)
    assert probes[0].refusal is None
    with pytest.raises(LocationMismatch):
        probes[0].run(write=False)
    probes[1].run(write=False)
    assert probes[1].refusal is None


def test_a_marker_does_not_overwrite_an_existing_one(make: Make) -> None:
    us, eu = make("us"), make("eu")
    us.write_small(MARKER_KEY, b'{"location": "us"}', new=True)
    with pytest.raises(StoreError):
        eu.write_small(MARKER_KEY, b'{"location": "eu"}', new=True)
    assert us.read_small(MARKER_KEY) == b'{"location": "us"}'
