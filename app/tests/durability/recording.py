"""A database that records statements, so that their plans can be examined afterwards."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2.extensions
from atoll.db.pool import Database, Parameters
from atoll.db.statement import Statement

_PLANNED = re.compile(r"\s*(SELECT|WITH|INSERT|UPDATE|DELETE)\b", re.IGNORECASE)
_COMMENT = re.compile(r"--[^\n]*")


class RecordingDatabase(Database):
    """Records each distinct statement with its parameters in `recorded`."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.recorded: dict[str | Statement, Parameters] = {}

    def run(self, sql: str | Statement, parameters: Parameters = None) -> list[Any]:
        self.recorded.setdefault(sql, parameters)
        return super().run(sql, parameters)

    @contextmanager
    def transaction(self) -> Iterator[psycopg2.extensions.cursor]:
        with super().transaction() as cursor:
            yield _RecordingCursor(cursor, self.recorded)  # type: ignore[misc]

    def plans(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield each recorded statement with its plan, without executing it.

        A prepared statement has two plans: one for the parameters' values, and one without them.
        """
        for sql, parameters in self.recorded.items():
            with super().transaction() as cursor:
                if isinstance(sql, Statement):
                    yield sql.sql, _plan_without_values(cursor, sql, parameters)
                text = cursor.mogrify(getattr(sql, "sql", sql), parameters).decode()
                for statement in _COMMENT.sub("", text).split(";"):
                    if _PLANNED.match(statement):
                        cursor.execute(f"EXPLAIN (FORMAT JSON) {statement}")
                        yield statement, cursor.fetchall()[0][0][0]["Plan"]


def _plan_without_values(
    cursor: psycopg2.extensions.cursor, statement: Statement, parameters: Parameters
) -> dict[str, Any]:
    values = statement.values(parameters)  # type: ignore[arg-type]
    preparation = statement.prepare.removesuffix(f"; {statement.execute}")
    cursor.execute("DEALLOCATE ALL; SET LOCAL plan_cache_mode = force_generic_plan")
    cursor.execute(preparation)
    cursor.execute(f"EXPLAIN (FORMAT JSON) {statement.execute}", values)
    plan: dict[str, Any] = cursor.fetchall()[0][0][0]["Plan"]
    cursor.execute("DEALLOCATE ALL; SET LOCAL plan_cache_mode = auto")
    return plan


class _RecordingCursor:
    def __init__(
        self,
        cursor: psycopg2.extensions.cursor,
        recorded: dict[str | Statement, Parameters],
    ) -> None:
        self._cursor = cursor
        self._recorded = recorded

    def execute(self, sql: str, parameters: Parameters = None) -> None:
        self._recorded.setdefault(sql, parameters)
        self._cursor.execute(sql, parameters)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)
