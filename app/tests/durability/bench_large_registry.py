"""Measure each operation on generated registries, up to ten million tags.

    ATOLL_BENCH_TAGS=10000000 pytest -s app/tests/durability/bench_large_registry.py

Ten million tags with a hundred million placements take 35 GB of disk and a quarter of an hour. The
printed rows and pages do not depend on the machine; compare times only within a run.
"""

from __future__ import annotations

import logging
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from atoll.db.pool import Database

from .executed_plans import ExplainingDatabase
from .large_operations import Operations
from .large_registry import Size, fill_registry
from .sites import make_registry

COPIES, TAGS_OF_REPOSITORY = 10, 1000
SMALL = 10_000
EXECUTIONS = 12
# The time of the generation, in seconds.
_LONGEST = 4 * 3600


def sizes() -> list[Size]:
    """Return the sizes to measure: a small registry, and the one of ATOLL_BENCH_TAGS."""
    numbers = (SMALL, int(os.environ.get("ATOLL_BENCH_TAGS", "1000000")))
    return [Size(number, COPIES, max(number // TAGS_OF_REPOSITORY, 100)) for number in numbers]


@pytest.mark.long
@pytest.mark.parametrize("size", sizes(), ids=lambda size: f"{size.tags} tags")
def test_operations(make_database: Callable[[], str], tmp_path: Path, size: Size) -> None:
    uri = make_database()
    began = time.perf_counter()
    filling = Database(uri, {}, size=1, answer_timeout=_LONGEST, statement_timeout=_LONGEST * 1000)
    fill_registry(filling, size)
    stored = filling.read("SELECT pg_size_pretty(pg_database_size(current_database()))")[0][0]
    print(f"\n{size.tags} tags, {size.tags * size.copies} placements: {stored},")  # noqa: T201
    print(f"generated in {time.perf_counter() - began:.0f} s")  # noqa: T201
    print(f"{'operation':<38}{'ms':>9}{'statements':>12}{'rows':>9}{'pages':>9}{'sorted':>9}")  # noqa: T201
    site = make_registry(uri, tmp_path, ["us", "eu"])["us"]
    database = ExplainingDatabase(uri)
    site.graph.__dict__["database"] = database
    logging.disable(logging.INFO)
    try:
        for name, operation in Operations(site, size).each():
            measure(database, name, operation)
    finally:
        logging.disable(logging.NOTSET)


def measure(database: ExplainingDatabase, name: str, operation: Callable[[], object]) -> None:
    """Print what one execution of an operation takes; the time is the median."""
    database.take_executed()
    times = []
    for _ in range(EXECUTIONS):
        began = time.perf_counter()
        operation()
        times.append(1000 * (time.perf_counter() - began))
    plans = database.take_executed()
    assert plans
    print(  # noqa: T201
        f"{name:<38}{statistics.median(times):>9.2f}{len(plans) / EXECUTIONS:>12.0f}"
        f"{max(plan.rows_read for plan in plans):>9}"
        f"{sum(plan.buffers for plan in plans) / EXECUTIONS:>9.0f}"
        f"{max(plan.rows_sorted for plan in plans):>9}"
    )
