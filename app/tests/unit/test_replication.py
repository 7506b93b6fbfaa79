"""A copy is whole or not there, keeps to its memory and its pace, and begins nothing twice."""

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
from atoll.replication.copier import MEMORY_LARGE, Copier
from atoll.replication.source import WrongContent
from atoll.replication.work_queue import WorkQueue
from atoll.storage.base import Body, StoredPart, blob_key
from atoll.storage.errors import StoreUnavailable
from atoll.storage.multipart import PART_MINIMUM

from .memory_store import MemoryStore

LARGE = os.urandom(1000) * (3 * PART_MINIMUM // 1000)


class ListingStore(MemoryStore):
    """A store that tells what its parts hold, and counts what it is sent."""

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


class Free:
    """A hold that stops nothing, and remembers."""

    def __init__(self) -> None:
        self.upload_id: str | None = None

    def check(self) -> None:
        return

    def pace(self, size: int) -> None:
        del size

    def record_upload(self, upload_id: str | None) -> None:
        self.upload_id = upload_id


def digest(data: bytes) -> Digest:
    return Digest.parse(f"sha256:{hashlib.sha256(data).hexdigest()}")


def stores(data: bytes) -> tuple[ListingStore, ListingStore]:
    source, target = ListingStore("us"), ListingStore("eu")
    source.objects[blob_key(digest(data))] = data
    return source, target


def copy(source: MemoryStore, target: MemoryStore, data: bytes, hold: Free) -> None:
    copier = Copier({"us": source, "eu": target}, "eu")
    copier.copy(digest(data), len(data), ["us"], hold, hold.upload_id)


@pytest.mark.parametrize("data", [b"", b"small", LARGE, LARGE + b"x" * 5], ids=len)
def test_what_arrives_is_what_was_there(data: bytes) -> None:
    source, target = stores(data)
    copy(source, target, data, Free())
    assert (target.objects == source.objects) is True
    assert target.parts == {}


@pytest.mark.parametrize("data", [b"small", LARGE], ids=len)
@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: data[:-1] + b"?"])
def test_wrong_or_missing_bytes_become_no_object(data: bytes, damage) -> None:  # type: ignore[no-untyped-def]
    source, target = stores(data)
    source.objects[blob_key(digest(data))] = damage(data)
    with pytest.raises(WrongContent) as caught:
        copy(source, target, data, Free())
    assert caught.value.sources == ["us"]
    assert target.objects == {}


def test_a_copy_that_was_cut_off_sends_only_what_is_not_there() -> None:
    source, target = stores(LARGE)
    hold = Free()
    target.fails_after = 1
    with pytest.raises(StoreUnavailable):
        copy(source, target, LARGE, hold)
    assert hold.upload_id is not None
    target.fails_after = None
    first, target.sent = target.sent, []
    copy(source, target, LARGE, hold)
    assert sorted(first + target.sent) == [1, 2, 3]
    assert (target.objects == source.objects) is True


def test_a_part_that_a_predecessor_sent_from_a_bad_source_is_sent_again() -> None:
    source, target = stores(LARGE)
    hold = Free()
    target.fails_after = 1
    with pytest.raises(StoreUnavailable):
        copy(source, target, LARGE, hold)
    (part,) = target.parts[str(hold.upload_id)]
    target.parts[str(hold.upload_id)][part] = os.urandom(PART_MINIMUM)
    target.fails_after = None
    copy(source, target, LARGE, hold)
    assert (target.objects == source.objects) is True


def test_copies_at_once_share_their_memory_and_all_end() -> None:
    source, target = ListingStore("us"), ListingStore("eu")
    blobs = [LARGE + bytes([number]) for number in range(6)]
    copier = Copier({"us": source, "eu": target}, "eu")
    for data in blobs:
        source.objects[blob_key(digest(data))] = data
    threads = [
        threading.Thread(target=copier.copy, args=(digest(data), len(data), ["us"], Free(), None))
        for data in blobs
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (target.objects == source.objects) is True
    assert len(copier._large._free) <= MEMORY_LARGE // PART_MINIMUM
    assert copier._large._used == 0


def test_memory_beyond_the_limit_is_waited_for_but_by_one_who_is_alone() -> None:
    memory = BufferPool(100, 40)
    first, second = memory.take(40, wait=False), memory.take(40, wait=False)
    assert first is not None
    assert second is not None
    assert memory.take(40, wait=False) is None
    memory.give(first)
    assert memory.take(40, wait=True) is first
    memory.give(first)
    memory.give(second)
    assert memory.take(500, wait=True) is not None


def test_a_lane_claims_when_that_is_worth_a_statement() -> None:
    lane = WorkQueue(large=False, threads=2, held_maximum=10)
    assert lane.room(0) == 10
    lane.add([object()] * 7)  # type: ignore[list-item]
    assert lane.room(0) == 0
    lane.over()
    assert lane.room(0) == 4


def test_all_copies_of_a_worker_together_keep_to_the_bandwidth() -> None:
    clock = [100.0]
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        clock[0] += seconds

    limiter = RateLimiter(2**20, burst_seconds=1, monotonic=lambda: clock[0])
    for _ in range(4):
        limiter.take(8 * 2**20, wait)
    assert clock[0] == pytest.approx(100 + 32, abs=1)
    # Nobody waits for what somebody else takes later.
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
def test_outside_of_its_hours_nothing_is_copied(hours: str, hour: int, is_open: bool) -> None:
    moment = datetime.datetime(2026, 11, 21, hour, 0, tzinfo=datetime.UTC)
    limit = ReplicationLimit.model_validate({"hours": hours})
    assert limit.hours is not None
    assert limit.hours.contain(moment) is is_open
