"""Shared queries begin after each request that they answer, and answer all of them."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from atoll.db.shared_reads import SharedReads
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from ..integration.services import SECONDS

KEYS = ["a", "b"]
FOREVER = 1000.0


def settle(happened: Callable[[], bool]) -> None:
    """Wait for a thread; the limit only ends a wait that could never end."""
    deadline = time.monotonic() + SECONDS
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.0001)


class Failed(Exception):
    """The error of a query."""


@dataclass
class Query:
    """A query that has begun; it returns what the database had at its beginning."""

    found: int
    fails: bool = False
    released: threading.Event = field(default_factory=threading.Event)


@dataclass
class Reader:
    """A request, the state of the database when it arrived, and its result."""

    key: str
    at_least: int
    result: Future[int]


class World(RuleBasedStateMachine):
    """Requests arrive and queries end in any order, while the database changes."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: SharedReads[int] = SharedReads(FOREVER)
        self.executor = ThreadPoolExecutor(200)
        self.version = 0
        self.queries: dict[str, Query] = {}
        self.readers: list[Reader] = []
        self.problems: list[str] = []

    def teardown(self) -> None:
        while self.queries:
            self.end(next(iter(self.queries)), False)
        for reader in self.readers:
            assert isinstance(reader.result.exception(FOREVER), Failed | None)
        assert self.reads._waiting == {}
        assert self.problems == []
        self.executor.shutdown()

    @rule()
    def change(self) -> None:
        self.version += 1

    @rule(key=st.sampled_from(KEYS))
    def arrive(self, key: str) -> None:
        waiting = len(self.reads._waiting.get(key, []))
        is_first = key not in self.queries
        result = self.executor.submit(self.reads.read, key, lambda: self.query(key))
        self.readers.append(Reader(key, self.version, result))
        if is_first:
            settle(lambda: key in self.queries)
        else:
            settle(lambda: len(self.reads._waiting[key]) > waiting)

    def query(self, key: str) -> int:
        query = Query(self.version)
        if key in self.queries:
            self.problems.append("two queries of a key at the same time")
        self.queries[key] = query
        query.released.wait()
        if query.fails:
            raise Failed
        return query.found

    @precondition(lambda self: self.queries)
    @rule(key=st.sampled_from(KEYS), fails=st.booleans())
    def end(self, key: str, fails: bool) -> None:
        if key not in self.queries:
            return
        follows = bool(self.reads._waiting[key])
        query = self.queries.pop(key)
        query.fails = fails
        query.released.set()
        if follows:
            settle(lambda: key in self.queries)
        else:
            settle(lambda: key not in self.reads._waiting)
        for reader in self.readers:
            if reader.result.done() and reader.result.exception() is None:
                assert reader.result.result() >= reader.at_least


TestReadersGetAnAnswerThatIsNoOlderThanTheirRequest = World.TestCase
TestReadersGetAnAnswerThatIsNoOlderThanTheirRequest.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None
)


@pytest.mark.parametrize("patience", [0.0, 0.001, FOREVER])
def test_every_request_gets_a_current_answer_with_any_patience(patience: float) -> None:
    reads: SharedReads[int] = SharedReads(patience)
    version = [0]

    def ask(number: int) -> None:
        chance = random.Random(number)

        def query() -> int:
            found = version[0]
            time.sleep(chance.choice([0, 0.0005, 0.002]))
            return found

        for _ in range(100):
            version[0] += 1
            at_least = version[0]
            assert reads.read(chance.choice(KEYS), query) >= at_least

    with ThreadPoolExecutor(16) as executor:
        list(executor.map(ask, range(16)))
    assert reads._waiting == {}


def test_a_slow_query_delays_other_requests_no_longer_than_their_patience() -> None:
    reads: SharedReads[str] = SharedReads(0.001)
    slow = Query(0)
    begun = threading.Event()

    def wait() -> str:
        begun.set()
        slow.released.wait()
        return "slow"

    with ThreadPoolExecutor(1) as executor:
        first = executor.submit(reads.read, "key", wait)
        begun.wait()
        assert reads.read("key", lambda: "own") == "own"
        slow.released.set()
        assert first.result() == "slow"
    assert reads._waiting == {}
