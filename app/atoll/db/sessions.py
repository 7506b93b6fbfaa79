"""Check that connections to PostgreSQL are sessions of their own, with the settings of Atoll.

A pooler that assigns server connections per transaction (PgBouncer with
`pool_mode = transaction`) accepts LISTEN, SET and session locks, but loses them without an error:
workers get no notifications, and the lock of a migration stays with a connection of the pool.
"""

from __future__ import annotations

from contextlib import closing
from typing import Any

import psycopg2.extensions

from atoll.db.pool import OPTIONS_MARK, Database, DatabaseUnavailable
from atoll.errors import UserError

_REMEDY = "Set DB_URI to PostgreSQL itself; each process of Atoll has its own connection pool."

# PgBouncer's message for a setting that it neither forwards nor ignores.
_REFUSED_OPTIONS = "unsupported startup parameter"
_MARKED = "SELECT coalesce(current_setting(%(name)s, true), '')"
_BACKEND = "SELECT pg_backend_pid()"


class SessionsUnsupported(UserError):
    """An unsupported pooler is between Atoll and PostgreSQL."""


def require_sessions(database: Database) -> None:
    """Check that two connections are separate sessions with their settings.

    Raises:
        SessionsUnsupported: The connections share a session, or lack their settings.
        DatabaseUnavailable: The server cannot be reached.
    """
    try:
        _check(database)
    except DatabaseUnavailable as error:
        if _REFUSED_OPTIONS in str(error):
            raise SessionsUnsupported(
                f"a pooler between Atoll and PostgreSQL rejects session settings: {error}."
                f" {_REMEDY}"
            ) from error
        raise


def _check(database: Database) -> None:
    with closing(database.connect()) as first, closing(database.connect()) as second:
        try:
            _require_settings(first)
            _require_own_backends(first, second)
        except psycopg2.OperationalError as error:
            raise DatabaseUnavailable(str(error).strip()) from error


def _require_settings(connection: psycopg2.extensions.connection) -> None:
    if _ask(connection, _MARKED, {"name": OPTIONS_MARK}) != "on":
        raise SessionsUnsupported(
            "a pooler between Atoll and PostgreSQL drops the session settings (`options`), such as"
            f" the statement timeout and the isolation level. {_REMEDY}"
        )


def _require_own_backends(
    first: psycopg2.extensions.connection, second: psycopg2.extensions.connection
) -> None:
    """Check that `second` does not get the server connection that `first` just used."""
    backend = _ask(first, _BACKEND)
    with second.cursor() as cursor:
        cursor.execute("BEGIN")
        try:
            # `second` is queried first: in a pool of one connection, `first` would block.
            own = _ask(second, _BACKEND) != backend and _ask(first, _BACKEND) == backend
        finally:
            if not second.closed:
                cursor.execute("ROLLBACK")
    if not own:
        raise SessionsUnsupported(
            "a pooler between Atoll and PostgreSQL assigns sessions per transaction (PgBouncer:"
            " pool_mode = transaction or statement), so LISTEN and the lock of migrations have no"
            f" effect. {_REMEDY}"
        )


def _ask(
    connection: psycopg2.extensions.connection,
    query: str,
    parameters: dict[str, object] | None = None,
) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        row = cursor.fetchone()
    return row[0] if row else None
