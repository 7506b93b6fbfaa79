"""What instances report about stores: whether they are up, since when, how fast, and why not."""

from __future__ import annotations

import pytest
from atoll.storage.errors import StoreFull, StoreUnavailable, StoreUnreachable
from atoll.storage.health import StoreHealth
from atoll.storage.observations import observe_store, rounded_up


class Time:
    """A clock whose time tests set, in seconds."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def health(time: Time) -> StoreHealth:
    return StoreHealth(["us"], monotonic=time, clock=time)


def probe(health: StoreHealth, time: Time, seconds: float) -> None:
    health.begin_probe("us")
    time.now += seconds
    health.end_probe("us", None)


def test_a_store_is_unknown_until_the_first_probe(health: StoreHealth) -> None:
    assert observe_store(health, "us") == {
        "up": None,
        "serves": None,
        "cause": None,
        "since": None,
        "latency_seconds": None,
        "full": False,
        "read_only": False,
        "slow": False,
        "unresponsive": False,
    }


def test_an_observation_has_the_time_of_the_last_change(health: StoreHealth, time: Time) -> None:
    probe(health, time, 0.1)
    time.now = 60.0
    probe(health, time, 0.1)
    assert observe_store(health, "us")["since"] == "1970-01-01T00:00:00+00:00"
    health.observe("us", StoreUnreachable("us", "connection refused"))
    time.now = 90.0
    health.end_probe("us", StoreUnreachable("us", "connection refused"))
    down = observe_store(health, "us")
    assert (down["up"], down["serves"], down["since"]) == (
        False,
        False,
        "1970-01-01T00:01:00+00:00",
    )
    assert (down["latency_seconds"], down["slow"], down["cause"]) == (
        None,
        False,
        "connection refused",
    )


def test_a_store_is_unresponsive_while_a_probe_has_no_answer(
    health: StoreHealth, time: Time
) -> None:
    probe(health, time, 0.1)
    time.now = 60.0
    health.begin_probe("us")
    found = []
    for time.now in (60.1, 61.0):
        found.append(observe_store(health, "us"))
    health.record_transfer("us")
    found.append(observe_store(health, "us"))
    assert [one["unresponsive"] for one in found] == [False, True, False]
    assert [one["serves"] for one in found] == [True, True, True]
    health.end_probe("us", StoreUnreachable("us", "no route to host"))
    assert observe_store(health, "us")["unresponsive"] is False


def test_a_full_store_serves_and_a_read_only_one_is_not_full(health: StoreHealth) -> None:
    health.end_probe("us", None)
    for error, full in (
        (StoreFull("us", "no space"), True),
        (StoreUnavailable("us", "403"), False),
    ):
        health.begin_probe("us")
        health.end_probe("us", error, readable=True)
        found = observe_store(health, "us")
        assert (found["up"], found["serves"], found["read_only"]) == (False, True, True)
        assert found["full"] is full


def test_a_write_that_finds_the_store_full_shows_at_once(health: StoreHealth) -> None:
    health.end_probe("us", None)
    health.observe("us", StoreFull("us", "quota"), write=True)
    assert observe_store(health, "us")["full"] is True


def test_a_store_is_slow_while_probes_take_long_or_a_request_failed(
    health: StoreHealth, time: Time
) -> None:
    probe(health, time, 0.1)
    assert observe_store(health, "us")["slow"] is False
    health.doubt("us", "it answered 500")
    assert observe_store(health, "us")["slow"] is True
    for _ in range(20):
        probe(health, time, 2.0)
    slow = observe_store(health, "us")
    assert (slow["up"], slow["slow"], slow["latency_seconds"]) == (True, True, 2.0)


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.0001, 0.001), (0.0011, 0.002), (0.013, 0.02), (0.5, 0.5), (7, 10)]
)
def test_latencies_are_rounded_up_so_that_they_rarely_change(seconds: float, shown: float) -> None:
    assert rounded_up(seconds) == shown
