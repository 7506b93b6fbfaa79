"""Health and selection of stores, failover of reads, and multipart writes."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import pytest
from atoll.names import Digest
from atoll.periodic import ThreadRegistry
from atoll.storage.base import ObjectStore, blob_key
from atoll.storage.errors import (
    NoAllowedStore,
    NoHealthyStore,
    ObjectTooShort,
    StoreFull,
    StoreRefused,
    StoreTimeout,
    StoreUnavailable,
    StoreUnreachable,
)
from atoll.storage.failover import read_from_any
from atoll.storage.health import StoreHealth
from atoll.storage.multipart import (
    MEBIBYTE,
    PART_MINIMUM,
    FileSlice,
    PartsWriter,
    part_size,
    put_file,
)
from atoll.storage.prober import Prober
from atoll.storage.selection import StoreSelection
from atoll.storage.states import LocationStates

from ..integration.services import wait_until
from .memory_store import MemoryStore


def test_the_key_of_a_blob_is_that_of_quay() -> None:
    digest = Digest.parse("sha256:" + "ab" * 32)
    assert blob_key(digest) == f"sha256/ab/{'ab' * 32}"


def refused(location: str = "us") -> StoreUnavailable:
    return StoreUnreachable(location, "connection refused")


def silent(location: str = "us") -> StoreUnavailable:
    return StoreTimeout(location, "no answer in time")


def failed(location: str = "us") -> StoreUnavailable:
    return StoreUnavailable(location, "it answered 500")


def make_selection(down: set[str] = frozenset()) -> StoreSelection:  # type: ignore[assignment]
    health = StoreHealth(["us", "eu", "asia"])
    for name in ("us", "eu", "asia"):
        health.end_probe(name, refused(name) if name in down else None)
    return StoreSelection(["eu", "us"], ["us", "eu", "asia"], health, LocationStates())


def test_the_nearest_healthy_store_is_read_and_written() -> None:
    assert make_selection().to_read(["us", "eu"]) == ["eu", "us"]
    assert make_selection({"eu"}).to_read(["us", "eu"]) == ["us"]
    assert make_selection().to_write() == "eu"
    assert make_selection({"eu"}).to_write() == "us"
    assert make_selection({"eu", "us"}).to_write() == "asia"


def test_an_unknown_location_is_never_read() -> None:
    assert make_selection().to_read(["us", "gone"]) == ["us"]


def test_selection_fails_without_a_healthy_store() -> None:
    with pytest.raises(NoHealthyStore):
        make_selection({"us"}).to_read(["us"])
    with pytest.raises(NoHealthyStore):
        make_selection({"us", "eu", "asia"}).to_write()


def test_excluded_locations_are_not_written_even_if_all_others_are_unavailable() -> None:
    assert make_selection().to_write({"eu"}) == "us"
    with pytest.raises(NoAllowedStore):
        make_selection({"us", "asia"}).to_write({"eu"})
    with pytest.raises(NoHealthyStore) as nothing:
        make_selection({"us", "eu", "asia"}).to_write({"eu"})
    assert not isinstance(nothing.value, NoAllowedStore)


def probed_health(*locations: str) -> StoreHealth:
    """Return the health of stores that were probed successfully just now; time stands still."""
    health = StoreHealth(list(locations), monotonic=lambda: 0.0)
    for location in locations:
        health.begin_probe(location)
        health.end_probe(location, None)
    return health


def test_a_store_is_unavailable_after_two_failed_probes() -> None:
    health = probed_health("us")
    health.end_probe("us", silent())
    assert health.is_up("us")
    health.end_probe("us", silent())
    assert not health.is_up("us")


def test_a_refused_connection_makes_a_store_unavailable_immediately() -> None:
    health = probed_health("us", "eu")
    health.observe("us", refused())
    assert not health.is_up("us")
    health.end_probe("eu", refused("eu"))
    assert not health.is_up("eu")


@pytest.mark.parametrize("error", [failed(), StoreRefused("us", "it answered 403"), silent()])
@pytest.mark.parametrize("write", [False, True])
def test_an_error_about_one_object_leaves_the_store_available_and_requests_a_probe(
    error: StoreUnavailable, *, write: bool
) -> None:
    health = probed_health("us")
    health.observe("us", error, write=write)
    assert health.is_up("us")
    assert health.is_writable("us")
    assert health.probe_request("us").is_set()


def test_a_store_in_doubt_is_the_last_choice_until_a_probe_succeeds() -> None:
    health = probed_health("us", "eu")
    selection = StoreSelection(["us", "eu"], ["us", "eu"], health, LocationStates())
    health.observe("us", silent())
    assert selection.to_read(["us", "eu"]) == ["eu", "us"]
    assert selection.to_read(["us"]) == ["us"]
    assert selection.to_write() == "eu"
    assert selection.to_write({"eu"}) == "us"
    health.begin_probe("us")
    health.end_probe("us", None)
    assert selection.to_read(["us", "eu"]) == ["us", "eu"]
    assert selection.to_write() == "us"


def test_an_unresponsive_store_is_used_after_one_in_doubt() -> None:
    now = [0.0]
    health = StoreHealth(["us", "eu"], monotonic=lambda: now[0])
    selection = StoreSelection(["us", "eu"], ["us", "eu"], health, LocationStates())
    health.begin_probe("us")
    now[0] = 3.0
    health.record_transfer("eu")
    health.observe("eu", silent("eu"))
    assert selection.to_read(["us", "eu"]) == ["eu", "us"]
    assert selection.to_write() == "eu"


def test_a_probe_that_started_before_the_doubt_does_not_resolve_it() -> None:
    now = [0.0]
    health = StoreHealth(["us"], monotonic=lambda: now[0])
    health.begin_probe("us")
    now[0] = 0.1
    health.observe("us", silent())
    health.end_probe("us", None)
    assert health.in_doubt("us")
    assert health.probe_request("us").is_set()


class BuggyStore(MemoryStore):
    """A store whose driver raises an unexpected exception."""

    bug: Exception | None = None

    def probe(self, *, write: bool) -> None:
        if self.bug is not None:
            raise self.bug
        super().probe(write=write)


def test_a_probe_that_raises_any_exception_counts_as_failed_and_is_repeated() -> None:
    store, health = BuggyStore("us"), StoreHealth(["us"])
    prober = Prober({"us": store}, health)
    store.bug = ValueError("raised by the test")
    prober.start(ThreadRegistry())
    wait_until("the store is unavailable", lambda: not health.is_up("us"))
    assert health.state("us").cause == "raised by the test"
    store.bug = None
    wait_until("the store is available again", lambda: health.state("us").healthy)
    prober.stop()


def test_a_doubt_about_a_write_is_resolved_by_a_write_probe() -> None:
    store, health = MemoryStore("us"), probed_health("us", "eu")
    selection = StoreSelection(["us", "eu"], ["us", "eu"], health, LocationStates())
    health.observe("us", failed(), write=True)
    store.full = True
    Prober({"us": store}, health).probe_once(store)
    assert store.probes[0] is True
    assert health.is_up("us")
    assert not health.is_writable("us")
    assert selection.to_read(["us", "eu"]) == ["us", "eu"]


def test_a_failed_request_and_a_failed_probe_make_the_store_unavailable() -> None:
    health = StoreHealth(["us"])
    health.end_probe("us", None)
    health.observe("us", failed(), write=True)
    health.begin_probe("us")
    health.end_probe("us", failed())
    assert not health.is_up("us")


def test_repeated_reads_of_a_bad_object_do_not_keep_the_store_in_doubt() -> None:
    health = probed_health("us")
    for _ in range(100):
        health.observe("us", failed())
        assert not health.in_doubt("us")


def test_a_failed_write_is_not_retried_at_the_same_store() -> None:
    selection = make_selection()
    assert selection.to_write(tried=["eu"]) == "us"
    assert selection.to_write(tried=["eu", "us"]) == "asia"
    with pytest.raises(NoHealthyStore):
        selection.to_write(tried=["eu", "us", "asia"])
    with pytest.raises(NoAllowedStore):
        selection.to_write(excluded=["asia"], tried=["eu", "us"])


def test_a_store_is_usable_but_unproven_before_its_first_probe() -> None:
    health = StoreHealth(["us"])
    assert health.is_up("us")
    assert health.state("us").up is None
    health.end_probe("us", refused())
    assert health.state("us").up is False


def test_an_unavailable_store_recovers_only_with_a_write_probe() -> None:
    store, health = MemoryStore(), StoreHealth(["us"])
    prober = Prober({"us": store}, health)
    prober.probe_once(store)
    prober.probe_once(store)
    health.observe("us", refused())
    store.broken = True
    prober.probe_once(store)
    store.broken = False
    prober.probe_once(store)
    prober.probe_once(store)
    # The fourth probe checks whether a store that refuses writes is readable.
    assert store.probes == [True, False, True, False, True, False]
    assert health.is_up("us")


def test_a_full_store_is_read_only_until_a_write_probe_succeeds() -> None:
    store, health = MemoryStore("us"), StoreHealth(["us", "eu"])
    health.end_probe("eu", None)
    prober, nearest = Prober({"us": store}, health), ["us", "eu"]
    selection = StoreSelection(nearest, nearest, health, LocationStates())
    prober.probe_once(store)
    assert selection.to_write() == "us"
    health.observe("us", StoreFull("us", "no room"), write=True)
    store.full = True
    for _ in range(3):
        assert selection.to_write() == "eu"
        assert selection.to_read(["us", "eu"]) == ["us", "eu"]
        assert not health.state("us").healthy
        prober.probe_once(store)
    store.full = False
    prober.probe_once(store)
    assert selection.to_write() == "us"
    assert health.state("us").healthy


@pytest.mark.parametrize("error", [StoreFull("us", "full"), StoreUnreachable("us", "refused")])
@pytest.mark.parametrize("write", [False, True])
def test_a_probe_that_started_before_a_failed_request_does_not_hide_the_failure(
    error: StoreUnavailable, write: bool
) -> None:
    health = StoreHealth(["us"])
    health.end_probe("us", None)
    if write:
        health.request_probe("us", write=True)
    assert health.begin_probe("us") == write
    health.observe("us", error, write=True)
    health.end_probe("us", None)
    assert not health.is_writable("us")
    assert health.begin_probe("us")
    health.end_probe("us", None)
    assert health.is_writable("us")


def test_a_store_that_hangs_on_writes_is_still_read() -> None:
    """Ceph with a full disk never answers a write, which a request cannot tell from an outage."""
    store, health = MemoryStore("us"), StoreHealth(["us"])
    health.end_probe("us", None)
    health.observe("us", silent(), write=True)
    assert health.in_doubt("us")
    store.full = True
    Prober({"us": store}, health).probe_once(store)
    assert health.is_up("us")
    assert not health.is_writable("us")


def test_a_full_store_that_fails_is_unavailable() -> None:
    store, health = MemoryStore("us"), StoreHealth(["us"])
    prober = Prober({"us": store}, health)
    store.full = True
    prober.probe_once(store)
    assert health.is_up("us")
    store.broken = True
    # It is probed twice: for writes, and for reads.
    prober.probe_once(store)
    assert not health.is_up("us")


def test_a_store_with_an_unanswered_probe_is_read_last() -> None:
    now = [0.0]
    health = StoreHealth(["us", "eu"], monotonic=lambda: now[0])
    selection = StoreSelection(["us", "eu"], ["us", "eu"], health, LocationStates())
    for name in ("us", "eu"):
        health.end_probe(name, None)
    health.begin_probe("us")
    assert selection.to_read(["us", "eu"]) == ["us", "eu"]
    now[0] = 1.5
    assert selection.to_read(["us", "eu"]) == ["eu", "us"]
    assert selection.to_read(["us"]) == ["us"]
    health.end_probe("us", None)
    assert selection.to_read(["us", "eu"]) == ["us", "eu"]
    health.end_probe("us", silent())
    assert selection.to_read(["us", "eu"]) == ["eu", "us"]


def test_a_successful_request_does_not_make_an_unavailable_store_available() -> None:
    health = StoreHealth(["us"])
    health.observe("us", refused())
    health.observe("us", None)
    assert not health.is_up("us")


class FailingStore(MemoryStore):
    """A store that fails after it has sent `dies_after` bytes."""

    def __init__(self, location: str, dies_after: int) -> None:
        super().__init__(location)
        self._dies_after = dies_after

    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        yield self.objects[key][start:end][: self._dies_after]
        raise StoreUnavailable(self.location, "killed by the test")


def copies(us: MemoryStore, content: bytes = b"0123456789") -> dict[str, ObjectStore]:
    eu = MemoryStore("eu")
    us.objects["key"] = eu.objects["key"] = content
    return {"us": us, "eu": eu}


@pytest.mark.parametrize(("start", "end"), [(0, 10), (2, 9), (9, 10)])
@pytest.mark.parametrize("dies_after", [0, 1, 5])
def test_a_read_resumes_at_the_next_store_if_one_fails(
    start: int, end: int, dies_after: int
) -> None:
    stores = copies(FailingStore("us", dies_after))
    read = b"".join(
        read_from_any(stores, probed_health("us", "eu"), ["us", "eu"], "key", start=start, end=end)
    )
    assert read == b"0123456789"[start:end]


def test_a_missing_or_short_object_is_read_from_the_next_store() -> None:
    us = MemoryStore("us")
    stores = copies(us)
    us.objects["key"] = b"0123"
    assert (
        b"".join(
            read_from_any(stores, probed_health("us", "eu"), ["us", "eu"], "key", start=0, end=10)
        )
        == b"0123456789"
    )
    del us.objects["key"]
    assert (
        b"".join(
            read_from_any(stores, probed_health("us", "eu"), ["us", "eu"], "key", start=3, end=10)
        )
        == b"3456789"
    )


def test_a_read_fails_if_no_store_has_the_complete_object() -> None:
    us = MemoryStore("us")
    stores = copies(us)
    us.objects["key"] = b"0123"
    with pytest.raises(ObjectTooShort, match="'us'"):
        list(read_from_any(stores, probed_health("us"), ["us"], "key", start=0, end=10))
    us.broken = True
    with pytest.raises(StoreUnavailable):
        list(read_from_any(stores, probed_health("us"), ["us"], "key", start=0, end=10))


@pytest.mark.parametrize("total", [0, 1, PART_MINIMUM, 5 * 2**30, 5 * 2**40])
def test_part_sizes_are_within_the_limits_of_s3(total: int) -> None:
    size = part_size(total)
    assert size >= PART_MINIMUM
    assert size % MEBIBYTE == 0
    assert total / size <= 10_000


@pytest.mark.parametrize("length", [0, 1, PART_MINIMUM, 2 * PART_MINIMUM + 5])
def test_a_stream_is_written_unchanged(length: int) -> None:
    store, data = MemoryStore(), os.urandom(length)
    with PartsWriter(store, "key", length) as writer:
        for start in range(0, length, 7 * MEBIBYTE):
            writer.write(data[start : start + 7 * MEBIBYTE])
        assert "key" not in store.objects
        writer.finish()
    assert store.objects == {"key": data}
    assert store.parts == {}


def test_an_unfinished_writer_leaves_no_object_and_no_parts() -> None:
    store = MemoryStore()

    def write_and_fail() -> None:
        with PartsWriter(store, "key", 0) as writer:
            writer.write(bytes(2 * PART_MINIMUM))
            raise KeyError

    with pytest.raises(KeyError):
        write_and_fail()
    assert (store.objects, store.parts) == ({}, {})


@pytest.mark.parametrize(("kind", "asked"), [(StoreUnavailable, False), (StoreFull, True)])
def test_parts_are_not_aborted_at_an_unavailable_store(
    kind: type[StoreUnavailable], *, asked: bool
) -> None:
    store = MemoryStore()

    def write_to_failing_store() -> None:
        with PartsWriter(store, "key", 0) as writer:
            writer.write(bytes(2 * PART_MINIMUM))
            raise kind("us", "lost by the test")

    with pytest.raises(kind):
        write_to_failing_store()
    assert (store.parts == {}) is asked


@pytest.mark.parametrize("length", [0, 100, 33 * MEBIBYTE])
def test_a_file_is_written_from_its_start_regardless_of_its_position(
    tmp_path: Path, length: int
) -> None:
    store, data = MemoryStore(), os.urandom(length)
    with (tmp_path / "file").open("w+b") as file:
        file.write(data)
        put_file(store, "key", file, length)
    assert store.objects == {"key": data}


def test_a_file_slice_can_be_read_twice(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    with (tmp_path / "file").open("rb") as file:
        part = cast(BinaryIO, FileSlice(file, 3, 4))
        assert part.read() == b"3456"
        part.seek(0)
        assert part.read(2) == b"34"
        assert part.seek(-1, io.SEEK_END) == 3
        assert part.read() == b"6"
