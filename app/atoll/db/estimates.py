"""Count rows at a bounded cost: exactly up to a limit, beyond it from a sample."""

from __future__ import annotations

# Rows that are counted exactly, which takes some tenths of a second.
EXACT_MAXIMUM = 200_000
# Pages of a sample for larger numbers.
SAMPLE_PAGES = 1000

# Prefix of counting statements. Where other locations have many rows, the planner would otherwise
# scan the whole table to find the few rows of one location.
BY_INDEX = "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; "


def pages_of(table: str) -> str:
    """Return an SQL expression for the number of a table's pages."""
    return f"(pg_relation_size('{table}') / current_setting('block_size')::bigint)"


def sample_percent(pages: int) -> float:
    """Return the percentage of a table of `pages` pages to sample."""
    return min(100.0, 100.0 * SAMPLE_PAGES / max(pages, 1))
