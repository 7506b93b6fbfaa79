"""Check that a connection to PostgreSQL is a session, with the settings that Atoll asks for.

A pooler that hands a server connection to another client after each transaction (PgBouncer with
`pool_mode = transaction`) accepts LISTEN, SET and session locks, and loses them without an error:
workers are not woken, and the lock of a migration stays with a connection of the pool.
"""

from __future__ import annotations

from contextlib import closing
from typing import Any

import psycopg2.extensions

from atoll.db.pool import OPTIONS_MARK, Database, DatabaseUnavailable

_REMEDY = "Connect to PostgreSQL itself (DB_URI); each process of Atoll has a pool of its own."

# What PgBouncer says to a setting that it neither passes on nor ignores.
_REFUSED_OPTIONS = "unsupported startup parameter"
_MARKED = "SELECT coalesce(current_setting(%(name)s, true), '')"
_BACKEND = "SELECT pg_backend_pid()"


class SessionsUnsupported(Exception):
    """There is a pooler between Atoll and PostgreSQL that it cannot work with."""


def require_sessions(database: Database) -> None:
    """Check two connections to DATABASE.

    Raises:
        SessionsUnsupported: they are not sessions of their own, or lack their settings.
        DatabaseUnavailable: the server cannot be asked.
    """
    try:
        _check(database)
    except DatabaseUnavailable as error:
        if _REFUSED_OPTIONS in str(error):
            raise SessionsUnsupported(
                f"a pooler between Atoll and PostgreSQL refuses settings of the session: {error}."
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
            "a pooler between Atoll and PostgreSQL drops the settings of the session (`options`),"
            f" such as the limits of statements and the isolation level. {_REMEDY}"
        )


def _require_own_backends(
    first: psycopg2.extensions.connection, second: psycopg2.extensions.connection
) -> None:
    """Let SECOND take the server connection that FIRST just used, if a pool hands it out."""
    backend = _ask(first, _BACKEND)
    with second.cursor() as cursor:
        cursor.execute("BEGIN")
        try:
            # In this order: in a pool of one connection the second question would wait.
            own = _ask(second, _BACKEND) != backend and _ask(first, _BACKEND) == backend
        finally:
            if not second.closed:
                cursor.execute("ROLLBACK")
    if not own:
        raise SessionsUnsupported(
            "a pooler between Atoll and PostgreSQL gives each transaction another session"
            " (PgBouncer: pool_mode = transaction or statement), so that LISTEN and the lock of"
            f" migrations have no effect. {_REMEDY}"
        )


def _ask(
    connection: psycopg2.extensions.connection,
    question: str,
    parameters: dict[str, object] | None = None,
) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(question, parameters)
        row = cursor.fetchone()
    return row[0] if row else None
