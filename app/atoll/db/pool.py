"""A pool of PostgreSQL connections, and the two ways to use one.

`Database.run` sends one string, which may hold several statements, in one round trip: PostgreSQL
runs such a string as one transaction, each statement with a snapshot of its own.
`Database.transaction` is for the few places where Python decides between two statements.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg2
import psycopg2.extensions
from prometheus_client import Counter
from psycopg2.extras import DictCursor, register_uuid

from atoll.config import Bundle

log = logging.getLogger(__name__)

Parameters = Mapping[str, Any] | Sequence[Any] | None

# Arguments of Quay's database library that libpq does not know.
_NOT_FOR_LIBPQ = frozenset({"threadlocals", "autorollback", "max_connections", "stale_timeout"})

# A dead server must not hold a request: seconds to connect, milliseconds without an answer to TCP.
_CONNECT_TIMEOUT = 3
_TCP_USER_TIMEOUT = 5000
_STATEMENT_TIMEOUT = 10_000

ROUND_TRIPS = Counter("atoll_database_round_trips", "Round trips to PostgreSQL, by what they do")

register_uuid()  # type: ignore[no-untyped-call]


class DatabaseUnavailable(Exception):
    """PostgreSQL cannot be reached, or ended the connection."""


class Database:
    """Connections to the shared PostgreSQL, at most SIZE at once; safe for any thread."""

    def __init__(self, uri: str, arguments: Mapping[str, Any], *, size: int) -> None:
        self._uri = uri
        self._arguments = {
            "connect_timeout": _CONNECT_TIMEOUT,
            "tcp_user_timeout": _TCP_USER_TIMEOUT,
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "application_name": "atoll",
            "options": f"-c statement_timeout={_STATEMENT_TIMEOUT}",
            **{k: v for k, v in arguments.items() if k not in _NOT_FOR_LIBPQ},
        }
        self._idle: deque[psycopg2.extensions.connection] = deque()
        self._places = threading.BoundedSemaphore(size)

    @classmethod
    def from_bundle(cls, bundle: Bundle, *, size: int) -> Database:
        """Return the database that DB_URI and DB_CONNECTION_ARGS name."""
        return cls(bundle.db_uri.get_secret_value(), bundle.db_connection_args, size=size)

    def connect(self) -> psycopg2.extensions.connection:
        """Open a connection of its own, outside the pool; raise DatabaseUnavailable."""
        try:
            connection: psycopg2.extensions.connection = psycopg2.connect(
                self._uri, cursor_factory=DictCursor, **self._arguments
            )
        except psycopg2.OperationalError as error:
            raise DatabaseUnavailable(str(error).strip()) from error
        connection.autocommit = True
        return connection

    def run(self, sql: str, parameters: Parameters = None) -> list[Any]:
        """Run SQL in one round trip and return the rows of its last statement.

        Everything in SQL happens or nothing does. Raises DatabaseUnavailable, or psycopg2's error
        for what PostgreSQL refuses.
        """
        with self._connection() as connection, connection.cursor() as cursor:
            ROUND_TRIPS.inc()
            cursor.execute(sql, parameters)
            return cursor.fetchall() if cursor.description else []

    def read(self, sql: str, parameters: Parameters = None) -> list[Any]:
        """Run a query that changes nothing; once more on a new connection if the old one broke.

        An idle connection may have died with a restart or a fail-over of the server, which only
        the next use shows.
        """
        try:
            return self.run(sql, parameters)
        except DatabaseUnavailable:
            self.forget_idle()
            return self.run(sql, parameters)

    @contextmanager
    def transaction(self) -> Iterator[psycopg2.extensions.cursor]:
        """Give a cursor inside one transaction: committed at the end, rolled back by an error."""
        with self._connection() as connection:
            connection.autocommit = False
            try:
                with connection, connection.cursor() as cursor:
                    yield cursor
            finally:
                if not connection.closed:
                    connection.autocommit = True

    def forget_idle(self) -> None:
        """Close every idle connection."""
        while self._idle:
            try:
                self._idle.pop().close()
            except (IndexError, psycopg2.Error):
                log.debug("an idle connection was gone already")

    @contextmanager
    def _connection(self) -> Iterator[psycopg2.extensions.connection]:
        with self._places:
            try:
                connection = self._idle.pop()
            except IndexError:
                connection = self.connect()
            try:
                yield connection
            except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
                if connection.closed:
                    raise DatabaseUnavailable(str(error).strip()) from error
                raise
            finally:
                if not connection.closed:
                    self._idle.append(connection)
