"""The cost of each operation does not depend on the size of the registry.

Statements are executed on generated registries of two sizes, and PostgreSQL reports the rows and
pages that it really read. `bench_large_registry.py` does the same with ten million tags.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from atoll.db.pool import Database
from atoll.db.statement import Statement

from .busy_registry import fill
from .executed_plans import ExecutedPlan, ExplainingDatabase
from .large_operations import Operations
from .large_registry import Size, fill_registry
from .large_tables import TEN_MILLION, nodes, pretend_large, problem
from .recording import RecordingDatabase
from .sites import MemorySite, make_registry

# Both have as many blobs as a round of the collection examines.
SMALL, BIG = Size(20_000, 3, 2000), Size(200_000, 3, 20_000)
# Rows of the database whose planner is told of ten million.
ROWS = 10_000
# PostgreSQL considers a plan without the parameters' values from the sixth execution on.
EXECUTIONS = 8
# The most rows that a statement reads and sorts: of a request, a claim of some tasks, or a page of
# 100 entries; and of a round that examines 20,000 blobs.
SINGLE_ROWS, SINGLE_SORTED, BATCH_ROWS, BATCH_SORTED = 1000, 250, 100_000, 1000
# Lists all repositories, which docs/explanation/scaling.md mentions.
UNBOUNDED = "catalog"
# The most rows of a small table that are read without an index.
SCANNED_ROWS = 300
# A tree of ten times as many entries is hardly deeper.
GROWTH, PAGES = 1.5, 100


def explaining_site(uri: str, directory: Path, size: Size) -> MemorySite:
    """Return a site with a generated registry, whose database reports the plans it executes."""
    site = make_registry(uri, directory, ["us", "eu"])["us"]
    fill_registry(Database(uri, {}, size=1, answer_timeout=600, statement_timeout=600_000), size)
    site.graph.__dict__["database"] = ExplainingDatabase(uri)
    return site


def executed(site: MemorySite, size: Size) -> dict[str, list[ExecutedPlan]]:
    """Run each operation several times, and return the plans of its statements."""
    database = site.graph.database
    assert isinstance(database, ExplainingDatabase)
    plans = {}
    for name, operation in Operations(site, size).each():
        if name == UNBOUNDED:
            continue
        database.take_executed()
        for _ in range(EXECUTIONS):
            operation()
        plans[name] = database.take_executed()
        assert plans[name], name
    return plans


def problems(plans: list[ExecutedPlan], rows: int, rows_sorted: int) -> Iterator[str]:
    """Describe each statement that reads or sorts too many rows, or scans a table."""
    for plan in plans:
        scanned = [table for table, read in plan.sequential_scans() if read > SCANNED_ROWS]
        if plan.rows_read > rows or plan.rows_sorted > rows_sorted or scanned:
            yield (
                f"reads {plan.rows_read} rows, sorts {plan.rows_sorted}, scans {scanned}:"
                f" {plan.statement}"
            )


def test_statements_read_a_bounded_number_of_rows_at_any_size(
    make_database: Callable[[], str], tmp_path: Path
) -> None:
    plans, pages = {}, {}
    for size in (SMALL, BIG):
        site = explaining_site(make_database(), tmp_path / str(size.tags), size)
        plans = executed(site, size)
        batches = Operations(site, size).batches()
        # The last round of the collection examines fewer blobs than the others.
        pages[size] = {
            name: (max if name in batches else sum)(plan.buffers for plan in plans[name])
            for name in plans
        }
    found = {
        f"{name}: {text}"
        for name in plans
        for text in problems(
            plans[name],
            BATCH_ROWS if name in batches else SINGLE_ROWS,
            BATCH_SORTED if name in batches else SINGLE_SORTED,
        )
    }
    assert not found, "\n\n".join(sorted(found))
    grown = {
        name: (before, pages[BIG][name])
        for name, before in pages[SMALL].items()
        if pages[BIG][name] > GROWTH * before + EXECUTIONS * PAGES
    }
    assert not grown


def test_a_plan_for_ten_million_rows_uses_indexes(
    make_database: Callable[[], str], tmp_path: Path
) -> None:
    """The planner is told these sizes; its estimates for real tables may differ."""
    site = explaining_site(make_database(), tmp_path / "site", SMALL)
    recording = RecordingDatabase.from_bundle(site.graph.bundle, size=9)
    site.graph.__dict__["database"] = recording
    for _, operation in Operations(site, SMALL).each():
        operation()
    assert any(isinstance(statement, Statement) for statement in recording.recorded)
    # Plan them where all tables have rows.
    uri = make_database()
    busy = make_registry(uri, tmp_path / "busy", ["us", "eu"])["us"]
    fill(busy.graph.batch_database, ROWS, spacing=TEN_MILLION // ROWS)
    pretend_large(busy.graph.batch_database)
    planning = RecordingDatabase(uri, {}, size=1)
    planning.recorded = recording.recorded
    found = {
        f"{text}\n{' '.join(statement.split())}"
        for statement, plan in planning.plans()
        for node, limited in nodes(plan)
        if (text := problem(node, limited))
    }
    assert not found, "\n\n".join(sorted(found))
