"""Classification and retries of statements that fail temporarily."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any, TypeVar

import psycopg2
import psycopg2.errors

from atoll.db.pool import Database, DatabaseUnavailable, Parameters

# Attempts at a statement that conflicts with another transaction, and the maximum pause between
# them, in seconds.
_ATTEMPTS = 3
_PAUSE_SECONDS = 0.1

Result = TypeVar("Result")


def is_transient(error: BaseException) -> bool:
    """Return whether the statement may succeed later, unchanged.

    OperationalError covers conflicts (deadlock, serialization, lock not available), lack of
    resources (disk full, out of memory), shutdown and failures of the operating system.
    """
    return isinstance(error, DatabaseUnavailable | psycopg2.OperationalError)


def was_answered(error: BaseException) -> bool:
    """Return whether PostgreSQL itself rejected or cancelled the statement."""
    if isinstance(error, DatabaseUnavailable):
        return isinstance(error.__cause__, psycopg2.errors.QueryCanceled)
    return isinstance(error, psycopg2.Error)


def run_with_retries(database: Database, sql: str, parameters: Parameters = None) -> list[Any]:
    """Run a statement, and retry it after a deadlock or serialization failure.

    For background threads only; requests should not wait for the pauses.

    Raises:
        DatabaseUnavailable: Raised without a retry; the caller decides when to retry.
        psycopg2.Error: The statement failed for another reason, or conflicted each time.
    """
    return retry_conflicts(lambda: database.run(sql, parameters))


def retry_conflicts(transaction: Callable[[], Result]) -> Result:
    """Run a transaction, and retry it after a deadlock or serialization failure.

    For background threads only, as `run_with_retries`.
    """
    for _ in range(_ATTEMPTS - 1):
        try:
            return transaction()
        except psycopg2.errors.TransactionRollbackError:
            time.sleep(random.uniform(0, _PAUSE_SECONDS))  # noqa: S311
    return transaction()
