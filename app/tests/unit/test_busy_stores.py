"""A busy, slow store is distinguished from an unresponsive one."""

from __future__ import annotations

import pytest
from atoll.storage.errors import StoreFull, StoreTimeout, StoreUnavailable
from atoll.storage.health import StoreHealth
from atoll.storage.prober import Prober

from .clock import Clock
from .memory_store import MemoryStore


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock: Clock) -> StoreHealth:
    health = StoreHealth(["us"], monotonic=clock)
    health.begin_probe("us")
    health.end_probe("us", None)
    # Until then, the successful probe outweighs any later failure.
    clock.now += 10
    return health


def silent() -> StoreTimeout:
    return StoreTimeout("us", "no answer in time")


def probe_without_answer(health: StoreHealth, clock: Clock, *, moving: bool) -> None:
    health.begin_probe("us")
    for _ in range(20):
        clock.now += 0.1
        if moving:
            health.record_transfer("us", write=True)
    health.end_probe("us", silent())


def test_a_store_with_unanswered_probes_is_available_while_bytes_move(
    health: StoreHealth, clock: Clock
) -> None:
    for _ in range(100):
        probe_without_answer(health, clock, moving=True)
    assert health.is_up("us")
    assert health.is_writable("us")


def test_a_store_is_unavailable_after_two_unanswered_probes_and_four_seconds_of_silence(
    health: StoreHealth, clock: Clock
) -> None:
    probe_without_answer(health, clock, moving=True)
    probe_without_answer(health, clock, moving=False)
    clock.now += 0.5
    probe_without_answer(health, clock, moving=False)
    assert health.is_up("us")
    probe_without_answer(health, clock, moving=False)
    assert not health.is_up("us")


def test_a_store_is_in_doubt_within_a_second_of_its_last_response(
    health: StoreHealth, clock: Clock
) -> None:
    health.record_transfer("us")
    clock.now += 0.5
    health.begin_probe("us")
    assert not health.in_doubt("us")
    clock.now += 0.45
    assert health.in_doubt("us")


def test_a_busy_store_is_not_in_doubt_while_bytes_move(health: StoreHealth, clock: Clock) -> None:
    health.begin_probe("us")
    for _ in range(20):
        clock.now += 0.5
        health.record_transfer("us")
        assert not health.in_doubt("us")


def test_a_distant_store_gets_a_longer_probe_timeout(clock: Clock) -> None:
    health = StoreHealth(["us"], monotonic=clock)
    for _ in range(50):
        health.begin_probe("us")
        clock.now += 0.2
        health.end_probe("us", None)
    health.begin_probe("us")
    clock.now += 0.7
    assert not health.in_doubt("us")
    clock.now += 0.3
    assert health.in_doubt("us")


def test_a_store_that_receives_bytes_without_confirming_a_write_is_unresponsive_to_writes(
    health: StoreHealth, clock: Clock
) -> None:
    health.begin_probe("us")
    clock.now += 2
    health.record_transfer("us", write=True)
    assert health.unresponsive("us", write=True)
    assert not health.unresponsive("us", write=False)
    health.observe("us", None, write=True)
    assert not health.unresponsive("us", write=True)


def test_a_new_probe_does_not_reset_the_timeout_of_an_unresponsive_store(
    health: StoreHealth, clock: Clock
) -> None:
    probe_without_answer(health, clock, moving=False)
    assert health.unresponsive("us", write=True)
    health.begin_probe("us")
    assert health.unresponsive("us", write=True)
    health.end_probe("us", None)
    health.begin_probe("us")
    assert not health.unresponsive("us", write=True)


class HangsOnWrites(MemoryStore):
    """A store that answers read probes; a write probe fails after two seconds of `clock`."""

    def __init__(self, health: StoreHealth, clock: Clock) -> None:
        super().__init__("us")
        self._health, self._clock = health, clock

    def probe(self, *, write: bool) -> None:
        super().probe(write=write)
        if write:
            self._clock.now += 2
            self._health.record_transfer("us")
            raise silent()


def probe_writes(health: StoreHealth, clock: Clock, times: int) -> None:
    store = HangsOnWrites(health, clock)
    for _ in range(times):
        health.doubt("us", "no answer to a write", write=True)
        Prober({"us": store}, health).probe_once(store)


def test_successful_reads_do_not_hide_hanging_writes(health: StoreHealth, clock: Clock) -> None:
    probe_writes(health, clock, 3)
    assert health.is_up("us")
    assert not health.is_writable("us")


def test_a_readable_store_stays_writable_after_two_unanswered_write_probes(
    health: StoreHealth, clock: Clock
) -> None:
    probe_writes(health, clock, 2)
    assert health.in_doubt("us")
    assert health.is_writable("us")


def test_a_confirmed_write_resets_the_timeout_of_write_probes(
    health: StoreHealth, clock: Clock
) -> None:
    probe_writes(health, clock, 2)
    health.observe("us", None, write=True)
    clock.now += 10
    probe_writes(health, clock, 2)
    assert health.is_writable("us")


def test_a_full_store_is_read_only_even_while_bytes_move(health: StoreHealth) -> None:
    health.record_transfer("us", write=True)
    health.observe("us", StoreFull("us", "no room"), write=True)
    assert not health.is_writable("us")


def test_a_busy_store_is_unavailable_if_its_probes_fail(health: StoreHealth, clock: Clock) -> None:
    health.begin_probe("us")
    health.record_transfer("us")
    health.end_probe("us", StoreUnavailable("us", "it answered 500"))
    health.begin_probe("us")
    clock.now += 0.1
    health.end_probe("us", StoreUnavailable("us", "it answered 500"))
    assert not health.is_up("us")
