"""A database that reports the plan of each statement that it executes, with the rows it read.

The plans come from PostgreSQL's module auto_explain. They include those of prepared statements,
with or without their parameters' values, of functions, and of triggers and foreign keys.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from atoll.db.pool import Database, _Connection

_OPTIONS = " ".join(
    f"-c {name}={value}"
    for name, value in {
        "session_preload_libraries": "auto_explain",
        "auto_explain.log_min_duration": 0,
        "auto_explain.log_analyze": "on",
        "auto_explain.log_buffers": "on",
        "auto_explain.log_timing": "off",
        "auto_explain.log_nested_statements": "on",
        "auto_explain.log_format": "json",
        "auto_explain.log_level": "notice",
    }.items()
)
_MARK = "plan:\n"


@dataclass
class ExecutedPlan:
    """The plan of one execution of a statement.

    Attributes:
        statement: The text.
        root: The topmost node.
    """

    statement: str
    root: dict[str, Any]

    @property
    def rows_read(self) -> int:
        """The rows that were read from tables and indexes."""
        return sum(rows_of(node) for node in self.nodes() if "Relation Name" in node)

    @property
    def buffers(self) -> int:
        """The pages that were used, of tables and indexes."""
        return int(self.root["Shared Hit Blocks"] + self.root["Shared Read Blocks"])

    @property
    def rows_sorted(self) -> int:
        """The largest number of rows that one node sorted."""
        return max(
            (rows_of(node["Plans"][0]) for node in self.nodes() if "Sort" in node["Node Type"]),
            default=0,
        )

    def sequential_scans(self) -> Iterator[tuple[str, int]]:
        """Yield the tables that were read without an index, with the number of rows."""
        for node in self.nodes():
            if node["Node Type"] == "Seq Scan":
                yield node["Relation Name"], rows_of(node)

    def nodes(self) -> Iterator[dict[str, Any]]:
        """Yield each node that was executed."""
        pending = [self.root]
        while pending:
            node = pending.pop()
            pending += node.get("Plans", ())
            if node["Actual Loops"]:
                yield node


def rows_of(node: dict[str, Any]) -> int:
    """Return the rows that a node read, including those that a filter removed."""
    removed = sum(
        node.get(name, 0) for name in ("Rows Removed by Filter", "Rows Removed by Index Recheck")
    )
    return int((node["Actual Rows"] + removed) * node["Actual Loops"])


class _Notices(list[str]):
    """Passes plans on, and keeps other messages for the connection."""

    def __init__(self, plans: list[ExecutedPlan]) -> None:
        super().__init__()
        self._plans = plans

    def append(self, notice: str) -> None:
        if _MARK not in notice:
            super().append(notice)
            return
        plan = json.loads(notice.partition(_MARK)[2])
        self._plans.append(ExecutedPlan(" ".join(plan["Query Text"].split()), plan["Plan"]))


class ExplainingDatabase(Database):
    """Collects the plans of executed statements in `executed`; needs a superuser of PostgreSQL."""

    def __init__(self, uri: str, *, size: int = 9, **options: Any) -> None:
        super().__init__(uri, {"options": _OPTIONS}, size=size, **options)
        self.executed: list[ExecutedPlan] = []

    def connect(self) -> _Connection:
        connection = super().connect()
        connection.notices = _Notices(self.executed)
        return connection

    def take_executed(self) -> list[ExecutedPlan]:
        """Return the plans since the last call."""
        taken = list(self.executed)
        self.executed.clear()
        return taken
