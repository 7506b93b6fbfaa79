"""The round trips to PostgreSQL of operations on tags and blobs that no cache has.

`integration/test_round_trips.py` counts those of a site with its caches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import pytest
from atoll.db.lost_deletions import LostDeletions
from atoll.db.pool import Database
from atoll.db.shared_redis import SharedRedis

from ..integration.counting_proxy import CountingProxy, counting_proxy
from .large_operations import Operations
from .large_registry import Size, fill_registry
from .memory_redis import MemoryClient, MemoryRedis
from .sites import make_registry

SIZE = Size(2000, 3, 100)
ATTEMPTS = 8


@dataclass
class Distant:
    """A site whose database is behind a counting proxy."""

    operations: dict[str, Callable[[], object]]
    proxy: CountingProxy


@pytest.fixture
def distant(make_database: Callable[[], str], tmp_path: Path) -> Iterator[Distant]:
    uri = make_database()
    fill_registry(Database(uri, {}, size=1), SIZE)
    parts = urlsplit(uri)
    with counting_proxy(parts.port or 5432) as proxy:
        address = parts.netloc.rpartition("@")[0] + f"@127.0.0.1:{proxy.port}"
        site = make_registry(parts._replace(netloc=address).geturl(), tmp_path, ["us", "eu"])["us"]
        # Failed logins are counted without Redis. A push without it would record in PostgreSQL
        # what Redis has to forget.
        site.graph.__dict__["throttle"] = site.graph.throttle
        client = cast(Any, MemoryClient(MemoryRedis()))
        site.graph.__dict__["redis"] = SharedRedis(client, LostDeletions(site.database))
        yield Distant(dict(Operations(site, SIZE).each()), proxy)


@pytest.mark.parametrize(
    ("name", "round_trips"),
    [
        ("token", 1),
        ("manifest by tag", 1),
        ("manifest by digest", 1),
        ("HEAD of a manifest", 1),
        ("HEAD of a blob", 1),
        ("HEAD of a missing blob", 1),
        ("blob", 1),
        ("mount", 1),
        ("push of a layer", 3),
        ("push of an image", 5),
        ("deletion of a manifest", 1),
        ("tags of the largest repository", 1),
        ("catalog", 1),
        ("referrers", 1),
        ("claim of copies", 2),
    ],
)
def test_an_operation_takes_the_round_trips_of_the_table(
    distant: Distant, name: str, round_trips: int
) -> None:
    operation = distant.operations[name]
    # The first connection checks the schema.
    operation()
    # Workers are notified in the background, which adds round trips and never subtracts any.
    taken = []
    for _ in range(ATTEMPTS):
        before = distant.proxy.round_trips
        operation()
        taken.append(distant.proxy.round_trips - before)
    assert min(taken) == round_trips
