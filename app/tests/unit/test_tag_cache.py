"""Tags in memory are never returned after the notification of their change, nor without a proof.

The model has one primary, whose commits notify, one listener, to which notifications travel in
order, and readers, each of whose steps may be delayed. The clock of the model is that of the cache.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import pytest
from atoll.names import Digest, RepositoryName
from atoll.registry import tag_cache as module
from atoll.registry.manifest import Manifest
from atoll.registry.tag_cache import ALL, Reading, TagCache
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from .clock import Clock

VALID = 1.0
# Two repositories that share a counter.
IDS = [1, 1 + 1024]
TAG = "v1"

repositories = st.sampled_from(IDS)


def name(repository_id: int) -> RepositoryName:
    return RepositoryName("acme", "app").bound(repository_id)


def manifest(number: int) -> Manifest:
    content = b"%d" % number
    return Manifest(Digest.of(content), "application/json", content)


@dataclass
class Pending:
    """A read of a tag that began, and what the primary returned."""

    repository: int
    reading: Reading
    found: Manifest


@dataclass
class Change:
    """A committed change of a tag, and the value before it."""

    repository: int
    at: float
    old: Manifest
    delivered: bool = False


class World(RuleBasedStateMachine):
    """Each repository has one tag."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.cache = TagCache(monotonic=self.clock)
        self.numbers = 0
        self.tags: dict[int, Manifest] = {}
        self.changes: list[Change] = []
        # Notifications on their way with their changes, and the times of questions for a proof.
        self.wire: deque[tuple[str, Change] | float] = deque()
        self.connected = False
        self.pending: list[Pending] = []

    @initialize()
    def start(self) -> None:
        for repository in IDS:
            self.push(repository, everything=False)
        self.reconnect()
        self.prove()

    @rule(repository=repositories, everything=st.booleans())
    def push(self, repository: int, everything: bool) -> None:
        """Move a tag; the notification names its repository, or every one."""
        self.numbers += 1
        old = self.tags.get(repository)
        self.tags[repository] = manifest(self.numbers)
        if old is not None:
            self.changes.append(change := Change(repository, self.clock.now, old))
            if self.connected:
                self.wire.append((ALL if everything else str(repository), change))

    @rule(repository=repositories)
    def delete(self, repository: int) -> None:
        self.push(repository, everything=False)
        del self.tags[repository]

    @rule(seconds=st.sampled_from([0.1, 1.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule()
    def ask_for_proof(self) -> None:
        """The answer follows the notifications of all earlier commits."""
        if self.connected:
            self.wire.append(self.clock.now)

    @precondition(lambda self: self.wire)
    @rule()
    def deliver(self) -> None:
        received = self.wire.popleft()
        if isinstance(received, float):
            self.cache.prove(received + VALID)
            return
        payload, change = received
        self.cache.forget(payload)
        change.delivered = True

    @rule()
    def prove(self) -> None:
        """Receive everything, and a proof."""
        self.ask_for_proof()
        while self.wire:
            self.deliver()

    @rule()
    def lose_connection(self) -> None:
        self.connected = False
        self.wire.clear()
        self.cache.distrust()
        for change in self.changes:
            change.delivered = True

    @precondition(lambda self: not self.connected)
    @rule()
    def reconnect(self) -> None:
        self.connected = True
        self.prove()

    @rule(repository=repositories)
    def read(self, repository: int) -> None:
        """Begin to read a tag that exists."""
        reading = self.cache.begin(name(repository))
        found = self.tags.get(repository)
        if reading is not None and found is not None:
            self.pending.append(Pending(repository, reading, found))

    @precondition(lambda self: self.pending)
    @rule(data=st.data())
    def keep(self, data: st.DataObject) -> None:
        """Keep what was read, at any time later."""
        one = data.draw(st.sampled_from(self.pending))
        self.pending.remove(one)
        self.cache.put(name(one.repository), TAG, one.found, one.reading)

    @invariant()
    def no_value_is_returned_after_its_change_was_notified_or_without_a_proof(self) -> None:
        for repository in IDS:
            found = self.cache.get(name(repository), TAG)
            if found is None or found == self.tags.get(repository):
                continue
            [change] = [one for one in self.changes if one.old == found]
            assert change.repository == repository
            assert self.connected
            assert not change.delivered
            assert self.clock.now - change.at < VALID


class TestTagCache(World.TestCase):  # type: ignore[name-defined,misc]
    settings = settings(max_examples=300, stateful_step_count=60)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(clock: Clock) -> TagCache:
    cache = TagCache(monotonic=clock)
    cache.prove(clock.now + VALID)
    return cache


def keep(cache: TagCache, repository: int, tag: str, one: Manifest) -> None:
    reading = cache.begin(name(repository))
    assert reading is not None
    cache.put(name(repository), tag, one, reading)


def test_a_kept_tag_is_returned_by_tag_and_digest(cache: TagCache) -> None:
    keep(cache, 1, "v1", one := manifest(1))
    assert cache.get(name(1), "v1") == cache.get(name(1), str(one.digest)) == one
    assert cache.get(name(1), "v2") is None


def test_a_value_belongs_to_its_repository_by_id_and_name(cache: TagCache) -> None:
    keep(cache, 1, "v1", manifest(1))
    for other in (
        name(2),
        name(1025),
        RepositoryName("acme", "other").bound(1),
        RepositoryName("other", "app").bound(1),
        RepositoryName("acme", "app"),
    ):
        assert cache.get(other, "v1") is None


def test_nothing_is_kept_for_a_name_without_an_id(cache: TagCache) -> None:
    assert cache.begin(RepositoryName("acme", "app")) is None


def test_nothing_is_returned_once_the_proof_has_ended_and_again_after_the_next(
    cache: TagCache, clock: Clock
) -> None:
    keep(cache, 1, "v1", manifest(1))
    clock.now += VALID
    assert cache.get(name(1), "v1") is None
    assert cache.begin(name(1)) is None
    cache.prove(clock.now + VALID)
    assert cache.get(name(1), "v1") == manifest(1)


def test_without_a_proof_nothing_is_kept() -> None:
    assert TagCache().begin(name(1)) is None


def test_a_large_manifest_is_not_kept(cache: TagCache) -> None:
    large = Manifest(Digest.of(b""), "application/json", bytes(32 * 1024 + 1))
    keep(cache, 1, "v1", large)
    assert cache.get(name(1), "v1") is None


def test_the_number_of_kept_references_is_bounded(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MAXIMUM", 4)
    cache = TagCache(monotonic=clock)
    cache.prove(clock.now + VALID)
    for number in range(10):
        keep(cache, 1, f"v{number}", manifest(number))
    assert len(cache._kept) == 4
