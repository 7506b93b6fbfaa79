"""Recognize and retry statements that PostgreSQL refuses now and may accept later."""

from __future__ import annotations

import random
import time
from typing import Any

import psycopg2
import psycopg2.errors

from atoll.db.pool import Database, DatabaseUnavailable, Parameters

# Attempts at a statement that was rolled back in favour of another transaction, and the greatest
# pause before the next one, in seconds.
_ATTEMPTS = 3
_PAUSE_SECONDS = 0.1


def is_transient(error: BaseException) -> bool:
    """Return whether the statement that raised ERROR may succeed later, unchanged.

    OperationalError stands for conflicts (deadlock, serialization, lock not available), lack of
    resources (disk full, out of memory), shutdown and failures of the operating system.
    """
    return isinstance(error, DatabaseUnavailable | psycopg2.OperationalError)


def was_answered(error: BaseException) -> bool:
    """Return whether PostgreSQL itself refused or cancelled the statement that raised ERROR."""
    if isinstance(error, DatabaseUnavailable):
        return isinstance(error.__cause__, psycopg2.errors.QueryCanceled)
    return isinstance(error, psycopg2.Error)


def run_with_retries(database: Database, sql: str, parameters: Parameters = None) -> list[Any]:
    """Run SQL, and again where it was rolled back because of a deadlock or serialization failure.

    For background threads; a request should not wait for the pauses.

    Raises:
        DatabaseUnavailable: at once; the caller decides when to try again.
        psycopg2.Error: any other error, or the last of several conflicts.
    """
    for _ in range(_ATTEMPTS - 1):
        try:
            return database.run(sql, parameters)
        except psycopg2.errors.TransactionRollbackError:
            time.sleep(random.uniform(0, _PAUSE_SECONDS))  # noqa: S311
    return database.run(sql, parameters)
