"""Presigned URLs are reused for a while, and only while nothing about their location changes."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from atoll.storage import links as module
from atoll.storage.base import ObjectStore
from atoll.storage.errors import StoreFull, StoreUnreachable
from atoll.storage.health import StoreHealth
from atoll.storage.links import Links
from atoll.storage.local import LocalObjectStore
from atoll.storage.states import DRAINING, READ_ONLY, REMOVED, LocationStates
from hypothesis import given
from hypothesis import strategies as st

from .clock import Clock
from .memory_store import MemoryStore

SECONDS = 600


class CountingStore(MemoryStore):
    """A store each of whose URLs is another one."""

    signed = 0

    def presigned_url(self, key: str, seconds: int) -> str:
        self.signed += 1
        return f"{super().presigned_url(key, seconds)}&number={self.signed}"


class StoreWithoutUrls(MemoryStore):
    presigned_url = LocalObjectStore.presigned_url  # type: ignore[assignment]


@dataclass
class World:
    """Links to the objects of two stores, and what they depend on."""

    clock: Clock = field(default_factory=Clock)
    states: LocationStates = field(default_factory=LocationStates)

    def __post_init__(self) -> None:
        self.stores: dict[str, ObjectStore] = {
            "us": CountingStore("us"),
            "eu": CountingStore("eu"),
            "local": StoreWithoutUrls("local"),
        }
        self.health = StoreHealth(list(self.stores), monotonic=self.clock, clock=self.clock)
        self.links = Links(self.stores, self.health, self.states, monotonic=self.clock)

    def set_state(self, location: str, state: str) -> None:
        self.states._states = {**dict.fromkeys(self.stores, "active"), location: state}


@pytest.fixture
def world() -> World:
    return World()


@given(st.floats(0, 2 * SECONDS))
def test_a_url_is_reused_only_while_most_of_its_life_is_left(age: float) -> None:
    world = World()
    first = world.links.url("us", "a", SECONDS)
    world.clock.now += age
    reused = world.links.url("us", "a", SECONDS) == first
    assert reused == (age < SECONDS * 0.2)


def test_each_object_location_and_lifetime_has_its_own_url(world: World) -> None:
    wanted = [("us", "a", 600), ("us", "b", 600), ("eu", "a", 600), ("us", "a", 60)]
    urls = [world.links.url(*one) for one in wanted]
    assert len(set(urls)) == len(wanted)
    assert [world.links.url(*one) for one in wanted] == urls


@pytest.mark.parametrize("state", [READ_ONLY, DRAINING, REMOVED])
def test_a_changed_state_of_the_location_drops_its_urls(world: World, state: str) -> None:
    first, other = world.links.url("us", "a", SECONDS), world.links.url("eu", "a", SECONDS)
    world.set_state("us", state)
    assert world.links.url("us", "a", SECONDS) != first
    assert world.links.url("eu", "a", SECONDS) == other


@pytest.mark.parametrize("error", [StoreUnreachable("us", "refused"), StoreFull("us", "no space")])
def test_a_changed_health_of_the_store_drops_its_urls(world: World, error: StoreFull) -> None:
    world.health.end_probe("us", None)
    world.clock.now += 1
    first = world.links.url("us", "a", SECONDS)
    world.health.observe("us", error, write=True)
    second = world.links.url("us", "a", SECONDS)
    assert second != first
    world.clock.now += 1
    world.health.begin_probe("us")
    world.health.end_probe("us", None)
    assert world.health.is_writable("us")
    assert world.links.url("us", "a", SECONDS) not in {first, second}


def test_a_store_without_urls_is_asked_each_time(world: World) -> None:
    assert world.links.url("local", "a", SECONDS) is None
    world.stores["local"] = CountingStore("local")
    assert world.links.url("local", "a", SECONDS) is not None


def test_the_number_of_kept_urls_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAXIMUM", 2)
    links = Links(world.stores, world.health, world.states, monotonic=world.clock)
    first = links.url("us", "a", SECONDS)
    for key in "bc":
        links.url("us", key, SECONDS)
    assert links.url("us", "a", SECONDS) != first
