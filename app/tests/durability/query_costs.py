"""The cost of statements in rows, which does not depend on the speed of the machine."""

from __future__ import annotations

from atoll.db import estimates
from atoll.db.pool import Database


def examined(database: Database, statement: str, parameters: dict[str, object]) -> int:
    """Return the number of rows that the statement reads from tables and indexes."""

    def rows(plan: dict[str, object]) -> int:
        read = 0
        if "Relation Name" in plan:
            removed = plan.get("Rows Removed by Filter", 0)
            read = (plan["Actual Rows"] + removed) * plan["Actual Loops"]  # type: ignore[operator]
        return read + sum(rows(part) for part in plan.get("Plans", []))  # type: ignore[attr-defined]

    explained = database.run(
        f"{estimates.BY_INDEX} EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters
    )
    return rows(explained[0][0][0]["Plan"])
