"""Count rows at a bounded cost: exactly up to a limit, from a sample beyond it."""

from __future__ import annotations

# Rows that are counted one by one; some tenths of a second.
EXACT_MAXIMUM = 200_000
# Pages that are read at most to estimate larger numbers.
SAMPLE_PAGES = 1000

# Before a statement that counts: the planner would read a whole table to find the few rows of one
# location, for it knows that others have many.
BY_INDEX = "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; "


def pages_of(table: str) -> str:
    """Return the expression for the number of pages of TABLE."""
    return f"(pg_relation_size('{table}') / current_setting('block_size')::bigint)"


def sample_percent(pages: int) -> float:
    """Return which part of a table of so many PAGES to sample, in percent."""
    return min(100.0, 100.0 * SAMPLE_PAGES / max(pages, 1))
