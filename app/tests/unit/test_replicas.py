"""A replica may be stale or unavailable, so it never proves that a row does not exist."""

from __future__ import annotations

from typing import Any, cast

import pytest
from atoll.db.pool import Database, DatabaseUnavailable
from atoll.db.replicas import Reads


class Server:
    """A server that returns `rows`, or is unavailable if they are None."""

    def __init__(self, rows: list[Any] | None) -> None:
        self.rows = rows
        self.asked = 0

    def read(self, _sql: str, _parameters: object = None) -> list[Any]:
        self.asked += 1
        if self.rows is None:
            raise DatabaseUnavailable("unavailable")
        return self.rows


def reads(primary: Server, *replicas: Server) -> Reads:
    return Reads(cast(Database, primary), [cast(Database, replica) for replica in replicas])


def test_rows_of_the_primary_may_be_cached() -> None:
    for read in (reads(Server([1])).near, reads(Server([1])).current):
        assert (read("").rows, read("").fresh) == ([1], True)


def test_rows_of_a_replica_are_returned_but_not_cached() -> None:
    primary = Server([1])
    answer = reads(primary, Server([2])).near("")
    assert (answer.rows, answer.fresh, primary.asked) == ([2], False, 0)


@pytest.mark.parametrize("replica", [[], None])
def test_the_primary_is_asked_if_a_replica_has_no_rows(replica: list[Any] | None) -> None:
    answer = reads(Server([1]), Server(replica)).near("")
    assert (answer.rows, answer.fresh) == ([1], True)


def test_current_rows_come_from_a_replica_only_if_the_primary_is_unavailable() -> None:
    assert reads(Server([1]), Server([2])).current("").rows == [1]
    assert reads(Server([]), Server([2])).current("").rows == []
    assert reads(Server(None), Server(None), Server([2])).current("").rows == [2]


@pytest.mark.parametrize("replica", [[], None])
def test_no_row_is_reported_missing_while_the_primary_is_unavailable(
    replica: list[Any] | None,
) -> None:
    for read in (reads(Server(None), Server(replica)).near, reads(Server(None)).current):
        with pytest.raises(DatabaseUnavailable):
            read("")
