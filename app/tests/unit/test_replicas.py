"""A replica may be old or away: it is never believed that something is not there."""

from __future__ import annotations

from typing import Any, cast

import pytest
from atoll.db.pool import Database, DatabaseUnavailable
from atoll.db.replicas import Reads


class Server:
    """Answers with ROWS, or is away."""

    def __init__(self, rows: list[Any] | None) -> None:
        self.rows = rows
        self.asked = 0

    def read(self, _sql: str, _parameters: object = None) -> list[Any]:
        self.asked += 1
        if self.rows is None:
            raise DatabaseUnavailable("away")
        return self.rows


def reads(primary: Server, *replicas: Server) -> Reads:
    return Reads(cast(Database, primary), [cast(Database, replica) for replica in replicas])


def test_without_replicas_the_primary_answers_and_its_answer_may_be_kept() -> None:
    for read in (reads(Server([1])).near, reads(Server([1])).current):
        assert (read("").rows, read("").fresh) == ([1], True)


def test_a_replica_answers_in_the_primarys_place_and_its_answer_is_not_kept() -> None:
    primary = Server([1])
    answer = reads(primary, Server([2])).near("")
    assert (answer.rows, answer.fresh, primary.asked) == ([2], False, 0)


@pytest.mark.parametrize("replica", [[], None])
def test_what_a_replica_does_not_have_the_primary_is_asked_for(replica: list[Any] | None) -> None:
    answer = reads(Server([1]), Server(replica)).near("")
    assert (answer.rows, answer.fresh) == ([1], True)


def test_what_may_not_be_old_comes_from_a_replica_only_while_the_primary_is_away() -> None:
    assert reads(Server([1]), Server([2])).current("").rows == [1]
    assert reads(Server([]), Server([2])).current("").rows == []
    assert reads(Server(None), Server(None), Server([2])).current("").rows == [2]


@pytest.mark.parametrize("replica", [[], None])
def test_with_the_primary_away_nothing_is_said_not_to_be_there(replica: list[Any] | None) -> None:
    for read in (reads(Server(None), Server(replica)).near, reads(Server(None)).current):
        with pytest.raises(DatabaseUnavailable):
            read("")
