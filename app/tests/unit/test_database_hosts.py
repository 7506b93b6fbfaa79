"""DB_URI may name several hosts, which are tried individually."""

from __future__ import annotations

import pytest
from atoll.db.pool import hosts_of


@pytest.mark.parametrize(
    ("uri", "hosts"),
    [
        ("postgresql://u@one:1/d", [{}]),
        ("postgresql:///d", [{}]),
        (
            "postgresql://u:p@one:1,two:2/d?sslmode=require",
            [{"host": "one", "port": "1"}, {"host": "two", "port": "2"}],
        ),
        ("postgresql://u@one,two/d", [{"host": "one"}, {"host": "two"}]),
        (
            "postgresql://u@/d?host=one,two&port=5433",
            [{"host": "one", "port": "5433"}, {"host": "two", "port": "5433"}],
        ),
    ],
)
def test_each_host_has_its_own_port(uri: str, hosts: list[dict[str, str]]) -> None:
    found = hosts_of(uri)
    assert [{k: v for k, v in one.items() if v} for one in found] == hosts
