"""A copy is complete or absent, respects memory and rate limits, and resumes its parts."""

from __future__ import annotations

import datetime
import hashlib
import os
import threading

import pytest
from atoll.config.replication_limits import ReplicationLimit
from atoll.names import Digest
from atoll.rate_limit import RateLimiter
from atoll.replication.buffer_pool import BufferPool
from atoll.replication.copier import LARGE_POOL_SIZE, Copier
from atoll.replication.source import WrongContent
from atoll.replication.work_queue import WorkQueue
from atoll.storage.base import Body, StoredPart, blob_key
from atoll.storage.errors import StoreUnavailable
from atoll.storage.multipart import PART_MINIMUM

from .memory_store import MemoryStore

LARGE = os.urandom(1000) * (3 * PART_MINIMUM // 1000)


class ListingStore(MemoryStore):
    """A store that lists parts with their MD5 and records the parts that it receives."""

    def __init__(self, location: str) -> None:
        super().__init__(location)
        self.sent: list[int] = []
        self.fails_after: int | None = None

    def put_part(self, key: str, upload_id: str, number: int, body: Body, size: int) -> str:
        if self.fails_after is not None and len(self.sent) >= self.fails_after:
            raise StoreUnavailable(self.location, "gone")
        self.sent.append(number)
        return super().put_part(key, upload_id, number, body, size)

    def stored_parts(self, key: str, upload_id: str) -> dict[int, StoredPart]:
        del key
        return {
            number: StoredPart(str(number), len(data), hashlib.md5(data).hexdigest())
            for number, data in self.parts[upload_id].items()
        }


class UnlimitedControl:
    """A control that permits everything and remembers the upload."""

    def __init__(self) -> None:
        self.upload_id: str | None = None

    def check(self) -> None:
        return

    def throttle(self, size: int) -> None:
        del size

    def record_upload(self, upload_id: str | None) -> None:
        self.upload_id = upload_id


def digest(data: bytes) -> Digest:
    return Digest.parse(f"sha256:{hashlib.sha256(data).hexdigest()}")


def stores(data: bytes) -> tuple[ListingStore, ListingStore]:
    source, target = ListingStore("us"), ListingStore("eu")
    source.objects[blob_key(digest(data))] = data
    return source, target


def copy(source: MemoryStore, target: MemoryStore, data: bytes, control: UnlimitedControl) -> None:
    copier = Copier({"us": source, "eu": target}, "eu")
    copier.copy(digest(data), len(data), ["us"], control, control.upload_id)


@pytest.mark.parametrize("data", [b"", b"small", LARGE, LARGE + b"x" * 5], ids=len)
def test_a_copy_has_the_bytes_of_its_source(data: bytes) -> None:
    source, target = stores(data)
    copy(source, target, data, UnlimitedControl())
    assert (target.objects == source.objects) is True
    assert target.parts == {}


@pytest.mark.parametrize("data", [b"small", LARGE], ids=len)
@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: data[:-1] + bytes([data[-1] ^ 1])]
)
def test_wrong_or_missing_bytes_are_not_stored(data: bytes, damage) -> None:  # type: ignore[no-untyped-def]
    source, target = stores(data)
    source.objects[blob_key(digest(data))] = damage(data)
    with pytest.raises(WrongContent) as caught:
        copy(source, target, data, UnlimitedControl())
    assert caught.value.sources == ["us"]
    assert target.objects == {}


def test_an_interrupted_copy_sends_only_missing_parts() -> None:
    source, target = stores(LARGE)
    control = UnlimitedControl()
    target.fails_after = 1
    with pytest.raises(StoreUnavailable):
        copy(source, target, LARGE, control)
    assert control.upload_id is not None
    target.fails_after = None
    first, target.sent = target.sent, []
    copy(source, target, LARGE, control)
    assert sorted(first + target.sent) == [1, 2, 3]
    assert (target.objects == source.objects) is True


def test_a_corrupt_part_of_an_earlier_attempt_is_sent_again() -> None:
    source, target = stores(LARGE)
    control = UnlimitedControl()
    target.fails_after = 1
    with pytest.raises(StoreUnavailable):
        copy(source, target, LARGE, control)
    (part,) = target.parts[str(control.upload_id)]
    target.parts[str(control.upload_id)][part] = os.urandom(PART_MINIMUM)
    target.fails_after = None
    copy(source, target, LARGE, control)
    assert (target.objects == source.objects) is True


def test_concurrent_copies_share_the_buffer_pool_and_complete() -> None:
    source, target = ListingStore("us"), ListingStore("eu")
    blobs = [LARGE + bytes([number]) for number in range(6)]
    copier = Copier({"us": source, "eu": target}, "eu")
    for data in blobs:
        source.objects[blob_key(digest(data))] = data
    threads = [
        threading.Thread(
            target=copier.copy, args=(digest(data), len(data), ["us"], UnlimitedControl(), None)
        )
        for data in blobs
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (target.objects == source.objects) is True
    assert len(copier._large._free) <= LARGE_POOL_SIZE // PART_MINIMUM
    assert copier._large._used == 0


def test_a_buffer_beyond_the_limit_is_granted_only_while_no_other_is_in_use() -> None:
    pool = BufferPool(100, 40)
    first, second = pool.acquire(40, wait=False), pool.acquire(40, wait=False)
    assert first is not None
    assert second is not None
    assert pool.acquire(40, wait=False) is None
    pool.release(first)
    assert pool.acquire(40, wait=True) is first
    pool.release(first)
    pool.release(second)
    assert pool.acquire(500, wait=True) is not None


def test_a_work_queue_claims_only_once_several_tasks_fit() -> None:
    queue = WorkQueue(large=False, threads=2, held_maximum=10)
    assert queue.capacity(0) == 10
    queue.add([object()] * 7)  # type: ignore[list-item]
    assert queue.capacity(0) == 0
    queue.task_done()
    assert queue.capacity(0) == 4


def test_all_copies_of_a_worker_share_one_bandwidth_limit() -> None:
    clock = [100.0]
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        clock[0] += seconds

    limiter = RateLimiter(2**20, burst_seconds=1, monotonic=lambda: clock[0])
    for _ in range(4):
        limiter.take(8 * 2**20, wait)
    assert clock[0] == pytest.approx(100 + 32, abs=1)
    # A caller does not wait for bytes that others take after it.
    assert max(waited) <= 1 + 1e-6
    RateLimiter(None).take(10**12, wait)
    assert clock[0] == pytest.approx(100 + 32, abs=1)


@pytest.mark.parametrize(
    ("hours", "hour", "is_open"),
    [
        ("22:00-06:00", 23, True),
        ("22:00-06:00", 5, True),
        ("22:00-06:00", 6, False),
        ("09:30-17:00", 9, False),
        ("09:30-17:00", 12, True),
    ],
)
def test_replication_hours_contain_the_configured_times_only(
    hours: str, hour: int, is_open: bool
) -> None:
    moment = datetime.datetime(2026, 11, 21, hour, 0, tzinfo=datetime.UTC)
    limit = ReplicationLimit.model_validate({"hours": hours})
    assert limit.hours is not None
    assert limit.hours.contain(moment) is is_open
