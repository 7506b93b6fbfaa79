"""Processes share doubts about the health of stores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from atoll.storage.doubt_sharing import CHANNEL, DoubtSharing
from atoll.storage.errors import StoreTimeout, StoreUnreachable
from atoll.storage.health import StoreHealth


class FakeRedis:
    def __init__(self) -> None:
        self.published: list[str] = []

    def publish(self, channel: str, message: str) -> None:
        assert channel == CHANNEL
        self.published.append(message)


class Process:
    def __init__(self) -> None:
        self.redis = FakeRedis()
        self.health = StoreHealth(["us", "eu"], monotonic=lambda: 0.0)
        self.sharing = DoubtSharing(self.redis, self.health, ["us", "eu"])  # type: ignore[arg-type]
        for location in ("us", "eu"):
            self.probe(location)

    @contextmanager
    def delivering_to(self, *others: Process) -> Iterator[None]:
        """Deliver to `others` what this process publishes."""
        yield
        self.sharing.publish_new()
        while self.redis.published:
            message = self.redis.published.pop()
            for process in (self, *others):
                process.sharing.apply(message)

    def probe(self, location: str) -> None:
        self.health.begin_probe(location)
        self.health.end_probe(location, None)


def test_a_doubt_applies_to_every_process_until_its_own_probe_succeeds() -> None:
    one, other = Process(), Process()
    with one.delivering_to(other):
        one.health.observe("us", StoreTimeout("us", "no answer in time"))
    assert other.health.in_doubt("us")
    assert other.health.probe_request("us").is_set()
    assert not other.health.in_doubt("eu")
    assert other.health.is_up("us")
    other.probe("us")
    assert not other.health.in_doubt("us")
    assert one.health.in_doubt("us")


def test_a_store_unavailable_to_one_process_is_in_doubt_for_others() -> None:
    one, other = Process(), Process()
    with one.delivering_to(other):
        one.health.observe("us", StoreUnreachable("us", "connection refused"))
    assert other.health.in_doubt("us")
    assert other.health.is_up("us")


def test_a_doubt_is_published_once_and_only_by_its_origin() -> None:
    one, other = Process(), Process()
    with one.delivering_to(other):
        one.health.observe("us", StoreTimeout("us", "no answer in time"))
    for process in (one, other):
        process.sharing.publish_new()
        assert process.redis.published == []


@pytest.mark.parametrize("message", ["", "[]", "{}", '{"sender": 1, "location": ["us"]}', "{"])
def test_a_malformed_message_is_ignored(message: str) -> None:
    process = Process()
    process.sharing.apply(message)
    assert not process.health.in_doubt("us")
