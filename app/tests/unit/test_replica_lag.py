"""A lagging replica is excluded, unless the primary is idle or unavailable."""

from __future__ import annotations

import logging
from typing import Any, cast

import pytest
from atoll.db.pool import Database, DatabaseUnavailable
from atoll.db.replica_lag import LAG_MAXIMUM, ReplicaLag

from .clock import Clock


class Server:
    """A server at a position of the write-ahead log; None if it is unavailable."""

    def __init__(self, position: int | None = 0) -> None:
        self.position = position

    def read(self, _sql: str, _parameters: object = None) -> list[Any]:
        if self.position is None:
            raise DatabaseUnavailable("unavailable")
        return [[self.position]]


class Pair:
    """A primary, a replica and the measured lag."""

    def __init__(self) -> None:
        self.primary, self.replica, self.clock = Server(), Server(), Clock(1000.0)
        self.lag = ReplicaLag(
            cast(Database, self.primary), [cast(Database, self.replica)], monotonic=self.clock
        )

    def used_after(self, seconds: float, *, written: int = 0) -> bool:
        """Measure the lag every five seconds; return whether the replica is used."""
        for _ in range(round(seconds / 5)):
            self.clock.now += 5
            if self.primary.position is not None:
                self.primary.position += written
            self.lag.measure()
        return bool(self.lag.current())


@pytest.fixture
def pair() -> Pair:
    return Pair()


def test_a_replica_that_stopped_replaying_is_excluded_until_it_has_caught_up(
    pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert pair.used_after(LAG_MAXIMUM, written=1)
    assert not pair.used_after(10, written=1)
    assert not pair.used_after(100 * LAG_MAXIMUM, written=1)
    pair.replica.position = pair.primary.position
    assert pair.used_after(5, written=1)
    texts = [record.message for record in caplog.records]
    assert texts == ["replica excluded, lag too high", "replica included, caught up"]


def test_a_replica_that_lacks_one_write_of_an_idle_primary_is_excluded(pair: Pair) -> None:
    pair.primary.position = 1
    pair.lag.measure()
    assert pair.used_after(LAG_MAXIMUM)
    assert not pair.used_after(10)


def test_a_replica_of_an_idle_primary_is_used(pair: Pair) -> None:
    assert pair.used_after(100 * LAG_MAXIMUM)


def test_a_replica_that_follows_within_the_limit_is_used(pair: Pair) -> None:
    for _ in range(100):
        assert pair.used_after(LAG_MAXIMUM / 2, written=1)
        pair.replica.position = (pair.primary.position or 0) - 2


def test_an_up_to_date_replica_is_used_while_the_primary_is_unavailable(
    pair: Pair,
) -> None:
    pair.primary.position = None
    assert pair.used_after(100 * LAG_MAXIMUM)
    pair.replica.position = None
    assert pair.used_after(5)


def test_a_lagging_replica_stays_excluded_while_both_servers_are_unavailable(pair: Pair) -> None:
    assert not pair.used_after(2 * LAG_MAXIMUM, written=1)
    pair.primary.position = pair.replica.position = None
    assert not pair.used_after(5)


def test_positions_are_reset_when_the_primary_changes(pair: Pair) -> None:
    pair.primary.position = 1000
    pair.lag.measure()
    pair.primary.position = pair.replica.position = 900
    assert pair.used_after(10 * LAG_MAXIMUM)
