"""Injected PostgreSQL errors in the statements of a worker."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from atoll.db.pool import Database, Parameters

# Called with each statement and its parameters before it is sent. May raise an error.
Fault = Callable[[str, Parameters], None]


class Statements:
    """Counts the statements sent to `database` by their text, and makes them fail."""

    def __init__(self, database: Database, fault: Fault | None = None) -> None:
        self.sent: Counter[str] = Counter()
        self.succeeded: Counter[str] = Counter()
        self.last_parameters: dict[str, Parameters] = {}
        self.fault = fault
        self._run = database.run
        self._lock = threading.Lock()
        database.run = self._run_counted  # type: ignore[method-assign]

    def _run_counted(self, sql: str, parameters: Parameters = None) -> list[Any]:
        with self._lock:
            self.sent[sql] += 1
            self.last_parameters[sql] = parameters
        if self.fault is not None:
            self.fault(sql, parameters)
        rows = self._run(sql, parameters)
        with self._lock:
            self.succeeded[sql] += 1
        return rows


def fail_first(statements: list[str], times: int, error: type[Exception]) -> Fault:
    """Return a fault that raises `error` for the first `times` sends of each of `statements`."""
    left = Counter(dict.fromkeys(statements, times))
    lock = threading.Lock()

    def fault(sql: str, _parameters: Parameters) -> None:
        with lock:
            left[sql] -= 1
            failing = left[sql] >= 0
        if failing:
            raise error("injected")

    return fault
