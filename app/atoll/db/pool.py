"""A pool of PostgreSQL connections.

`Database.run` sends one string, which may contain several statements, in one round trip: PostgreSQL
runs it as one transaction, each statement with its own snapshot. `Database.transaction` is for the
few places where Python code decides between two statements.

After a failover, the first use of a broken connection fails and closes all idle connections; new
ones connect to the host that accepts writes.

A database whose schema lacks migrations of this version counts as unavailable until it is migrated.
This is checked by the first connection of a pool: a process that has found the migrations once
does not check again.
"""

from __future__ import annotations

import logging
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NoReturn

import psycopg2
import psycopg2.errors
import psycopg2.extensions
from prometheus_client import Counter
from psycopg2.extras import DictCursor, register_uuid

import atoll
from atoll import round_trips
from atoll.config import Bundle
from atoll.config.database_options import ISOLATION_SETTING, REQUIRED_ISOLATION
from atoll.db.statement import Statement
from atoll.periodic import ServiceUnavailable

log = logging.getLogger(__name__)

Parameters = Mapping[str, Any] | Sequence[Any] | None
MissingMigrations = Callable[[psycopg2.extensions.connection], Sequence[str]]

# Arguments of Quay's database library that libpq does not know.
_NOT_FOR_LIBPQ = frozenset({"threadlocals", "autorollback", "max_connections", "stale_timeout"})

# A dead server must not block a request: seconds to connect, and milliseconds without an
# acknowledgement by TCP.
_CONNECT_TIMEOUT = 3
_TCP_USER_TIMEOUT = 5000
# Milliseconds after which the server cancels a statement, and seconds that the client waits for a
# response: a hanging server acknowledges TCP segments, but does not enforce its own time-out.
_STATEMENT_TIMEOUT = 5_000
ANSWER_TIMEOUT = 8.0
# A site that vanished must not keep its locks until TCP's default time-outs: seconds between the
# statements of a transaction, and keep-alive settings of the server.
_IDLE_IN_TRANSACTION = 60
_SERVER_KEEPALIVE = {
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "4",
    "tcp_user_timeout": "30s",
}
# The similarity of names (pg_trgm) from which a search finds them; it tolerates two exchanged
# letters in a word of five.
SIMILARITY = 0.3
# A setting without effect, by which `atoll.db.sessions` checks that `options` reach the server.
OPTIONS_MARK = "atoll.options"
# Prefix of the notices that RAISE INFO sends.
_INFO = "INFO:  "
# Cancel the commit of an abandoned session. `statement_timeout` does not limit a COMMIT: one that
# waits for a synchronous standby, or for the lock of NOTIFY that such a COMMIT holds, would wait
# indefinitely although its client is gone. Only these waits are cancelled, because the process id
# may belong to another session by now.
_CANCEL = """
SELECT CASE WHEN wait_event = 'SyncRep' OR (wait_event_type = 'Lock' AND wait_event = 'object')
       THEN pg_cancel_backend(pid) END
FROM pg_stat_activity WHERE pid = %(pid)s AND usename = current_user AND state = 'active'
"""
# Attempts to cancel an abandoned session, which may reach its commit later, and seconds between
# them. Together they exceed the statement time-out.
_CANCEL_ATTEMPTS, _CANCEL_PAUSE = 12, 0.5
# Seconds for which no connection is attempted after a failure, so that requests fail at once.
_RETRY_SECONDS = 1.0

ROUND_TRIPS = Counter("atoll_database_round_trips", "Round trips to PostgreSQL")

register_uuid()  # type: ignore[no-untyped-call]


class DatabaseUnavailable(ServiceUnavailable):
    """PostgreSQL cannot be reached, does not answer, or ended the connection."""

    event = "database unavailable"


class SchemaOutdated(DatabaseUnavailable):
    """The database lacks migrations that this version requires."""

    event = "schema older than required"


class _Connection(psycopg2.extensions.connection):
    """A connection that limits every wait for the server, including connection establishment.

    Attributes:
        answer_timeout: Seconds to wait for a response; None for no limit.
        abandoned: Whether the connection was closed while the server was processing a statement.
        backend: The process id of the server process.
        host: The arguments of libpq that select the host; empty if DB_URI names only one.
        prepared: The names of the statements that this session has prepared.
        readable: Waits until the server sends something.
    """

    def __init__(
        self,
        *arguments: Any,
        connect_timeout: float,
        host: Mapping[str, str],
        **options: Any,
    ) -> None:
        self.answer_timeout: float | None = connect_timeout
        self.abandoned = False
        self.host = host
        self.prepared: set[str] = set()
        # libpq may change the socket until the connection is established.
        self.readable: select.poll | None = None
        super().__init__(*arguments, **options)
        self.backend: int = self.info.backend_pid
        self.readable = select.poll()
        self.readable.register(self.fileno(), select.POLLIN)

    def take_messages(self) -> list[str]:
        """Return the INFO messages that the server sent since the last call."""
        if not self.notices:
            return []
        messages = [
            notice.removeprefix(_INFO).strip()
            for notice in self.notices
            if notice.startswith(_INFO)
        ]
        self.notices.clear()
        return messages


def _wait(connection: psycopg2.extensions.connection) -> None:
    """Wait for the server's response; psycopg2 closes the connection if this raises."""
    state = connection.poll()
    if state == psycopg2.extensions.POLL_OK:
        return
    timeout = getattr(connection, "answer_timeout", ANSWER_TIMEOUT)
    deadline = None if timeout is None else time.monotonic() + timeout
    while state != psycopg2.extensions.POLL_OK:
        waiting = _poll_object(connection, reading=state == psycopg2.extensions.POLL_READ)
        left = None if deadline is None else max(deadline - time.monotonic(), 0) * 1000
        if not waiting.poll(left):
            if isinstance(connection, _Connection):
                connection.abandoned = True
            raise psycopg2.OperationalError(f"no answer within {timeout} s")
        state = connection.poll()


def _poll_object(connection: psycopg2.extensions.connection, *, reading: bool) -> select.poll:
    """Return what waits for the server; an established connection keeps that for reading."""
    readable = getattr(connection, "readable", None) if reading else None
    if readable is None:
        readable = select.poll()
        readable.register(connection.fileno(), select.POLLIN if reading else select.POLLOUT)
    return readable


psycopg2.extensions.set_wait_callback(_wait)


class Database:
    """A thread-safe pool of at most `size` connections to PostgreSQL.

    If DB_URI names several hosts, connections are made to the one that accepts writes; with
    `writes=False`, to any of them.

    Args:
        missing_migrations: Returns the required migrations that the database lacks; called with new
            connections until there are none. None if statements run on any schema.

    Attributes:
        on_info: Called with the text of each INFO message of a transaction after its commit.
    """

    def __init__(
        self,
        uri: str,
        arguments: Mapping[str, Any],
        *,
        size: int,
        answer_timeout: float = ANSWER_TIMEOUT,
        statement_timeout: int = _STATEMENT_TIMEOUT,
        writes: bool = True,
        missing_migrations: MissingMigrations | None = None,
    ) -> None:
        self._uri = uri
        self._answer_timeout = answer_timeout
        self._retry_at = 0.0
        self._arguments = {
            "connect_timeout": _CONNECT_TIMEOUT,
            "tcp_user_timeout": _TCP_USER_TIMEOUT,
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "application_name": "atoll",
            **{k: v for k, v in arguments.items() if k not in _NOT_FOR_LIBPQ},
        }
        given = {**psycopg2.extensions.parse_dsn(uri), **arguments}.get("options", "")
        self._arguments["options"] = _session_options(statement_timeout, given)
        self._hosts = hosts_of(uri)
        if writes and len(self._hosts) > 1:
            # Of several hosts, only the primary accepts writes.
            self._arguments.setdefault("target_session_attrs", _session(uri))
        # The host that accepted the last connection is tried first.
        self._nearest = 0
        # While the server is unavailable, one request at a time connects and the others fail at
        # once.
        self._unavailable = False
        self._connecting = threading.Lock()
        self._idle: deque[_Connection] = deque()
        self.on_info: Callable[[str], None] = lambda _message: None
        self.missing_migrations = missing_migrations
        self._migrated = missing_migrations is None
        # The message of the last failure if the schema was its cause.
        self._outdated: str | None = None
        self._slots = threading.BoundedSemaphore(size)
        # False if sessions lose prepared statements.
        self._prepares = True

    @classmethod
    def from_bundle(
        cls,
        bundle: Bundle,
        *,
        size: int,
        answer_timeout: float = ANSWER_TIMEOUT,
        statement_timeout: int = _STATEMENT_TIMEOUT,
        missing_migrations: MissingMigrations | None = None,
    ) -> Database:
        """Return the database that DB_URI and DB_CONNECTION_ARGS configure.

        Args:
            bundle: The bundle.
            size: The maximum number of connections.
            answer_timeout: Seconds to wait for a response.
            statement_timeout: Milliseconds after which the server cancels a statement.
            missing_migrations: As for the constructor.
        """
        return cls(
            bundle.db_uri.get_secret_value(),
            bundle.db_connection_args,
            size=size,
            answer_timeout=answer_timeout,
            statement_timeout=statement_timeout,
            missing_migrations=missing_migrations,
        )

    def connect(self) -> _Connection:
        """Open a connection outside the pool.

        Each host of DB_URI has its own connect time-out, which libpq does not support in
        non-blocking mode.

        Raises:
            DatabaseUnavailable: No host can be connected to.
        """
        causes = []
        for turn in range(len(self._hosts)):
            number = (self._nearest + turn) % len(self._hosts)
            try:
                connection = self._connect(self._hosts[number])
            except psycopg2.OperationalError as error:
                causes.append(str(error).strip())
                continue
            self._nearest = number
            connection.answer_timeout = self._answer_timeout
            connection.autocommit = True
            return connection
        raise DatabaseUnavailable("; ".join(causes))

    def _connect(self, host: Mapping[str, str]) -> _Connection:
        # In libpq, 0 disables the time-out.
        timeout = float(self._arguments["connect_timeout"]) or ANSWER_TIMEOUT
        connection: _Connection = psycopg2.connect(
            self._uri,
            connection_factory=partial(_Connection, connect_timeout=timeout, host=host),
            cursor_factory=DictCursor,
            **self._arguments,
            **host,
        )
        return connection

    def run(self, sql: str | Statement, parameters: Parameters = None) -> list[Any]:
        """Run statements in one transaction and one round trip; return the rows of the last one.

        A `Statement` is prepared by each connection that runs it, and its rows are tuples.

        Raises:
            DatabaseUnavailable: The server cannot be reached, does not respond, or cancelled a
                statement.
            SchemaOutdated: The database lacks migrations.
            psycopg2.Error: PostgreSQL rejected a statement.
        """
        with self._connection() as connection:
            if isinstance(sql, Statement):
                return self._run_prepared(connection, sql, parameters)
            with connection.cursor() as cursor:
                _execute(cursor, sql, parameters)
                return cursor.fetchall() if cursor.description else []

    def _run_prepared(
        self, connection: _Connection, statement: Statement, parameters: Parameters
    ) -> list[Any]:
        if not isinstance(parameters, Mapping):
            raise TypeError("a Statement has named parameters")
        with connection.cursor(cursor_factory=psycopg2.extensions.cursor) as cursor:
            if self._prepares:
                self._execute_prepared(connection, cursor, statement, parameters)
            else:
                _execute(cursor, statement.sql, parameters)
            return cursor.fetchall()

    def _execute_prepared(
        self,
        connection: _Connection,
        cursor: psycopg2.extensions.cursor,
        statement: Statement,
        parameters: Mapping[str, Any],
    ) -> None:
        """Execute a statement outside of a transaction, so that it can be repeated in this way."""
        values = statement.values(parameters)
        known = statement.name in connection.prepared
        try:
            _execute(cursor, statement.execute if known else statement.prepare, values)
        except psycopg2.errors.DuplicatePreparedStatement:
            # It was prepared, but its first execution failed.
            _execute(cursor, statement.execute, values)
        except psycopg2.errors.FeatureNotSupported:
            if not known:
                raise
            # A migration changed the type of a result, which a prepared statement must keep.
            _execute(cursor, f"DEALLOCATE {statement.name}; {statement.prepare}", values)
        except psycopg2.errors.InvalidSqlStatementName:
            self._prepares = False
            log.warning(
                "prepared statement lost, no more are prepared",
                extra={"cause": "a pooler between Atoll and PostgreSQL shares sessions"},
            )
            _execute(cursor, statement.sql, parameters)
            return
        connection.prepared.add(statement.name)

    def read(self, sql: str | Statement, parameters: Parameters = None) -> list[Any]:
        """Run a read-only query, and retry it once on a new connection if the old one is broken.

        After a restart or failover of the server, idle connections fail at their next use.

        Raises:
            DatabaseUnavailable: The retry failed as well.
            psycopg2.Error: PostgreSQL rejected the query.
        """
        try:
            return self.run(sql, parameters)
        except DatabaseUnavailable:
            if self.in_backoff:
                raise
            self.forget_idle()
            return self.run(sql, parameters)

    @contextmanager
    def transaction(self) -> Iterator[psycopg2.extensions.cursor]:
        """Provide a cursor in a transaction; commit at the end, roll back on an exception."""
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
                log.debug("idle connection already closed")

    @contextmanager
    def _connection(self) -> Iterator[_Connection]:
        if self.in_backoff:
            self._refuse("the server did not respond a moment ago")
        with self._slots:
            connection = self._take()
            try:
                yield connection
                messages = connection.take_messages()
            except psycopg2.errors.ReadOnlySqlTransaction as error:
                # The host was demoted from primary after the connection was made.
                connection.close()
                self.forget_idle()
                raise DatabaseUnavailable(str(error).strip()) from error
            except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
                if connection.closed:
                    self.forget_idle()
                # A statement that was cancelled, as after waiting for a lock, may succeed later.
                if connection.closed or isinstance(error, psycopg2.errors.QueryCanceled):
                    raise DatabaseUnavailable(str(error).strip()) from error
                raise
            finally:
                self._give_back(connection)
        for message in messages:
            self._report(message)

    def _report(self, message: str) -> None:
        try:
            self.on_info(message)
        except Exception:
            # The transaction is committed; an exception would suggest to the caller that it failed.
            log.exception("unhandled exception", extra={"task": "handle server message"})

    def _give_back(self, connection: _Connection) -> None:
        if not connection.closed:
            connection.take_messages()
            self._idle.append(connection)
        elif connection.abandoned:
            # In the background: a server that does not respond may not respond to this, either.
            cancel = partial(self._cancel, connection.host, connection.backend)
            threading.Thread(target=cancel, name="cancel", daemon=True).start()

    def _cancel(self, host: Mapping[str, str], backend: int) -> None:
        """Cancel an abandoned commit, so that such sessions do not exhaust `max_connections`."""
        try:
            connection = self._connect(host)
            try:
                connection.answer_timeout = self._answer_timeout
                connection.autocommit = True
                _end_wait(connection, backend)
            finally:
                connection.close()
        except psycopg2.Error as error:
            log.info("could not cancel abandoned statement", extra={"cause": str(error)})

    @property
    def in_backoff(self) -> bool:
        """Whether the server failed a moment ago, so that statements fail without a connection."""
        return time.monotonic() < self._retry_at

    def _take(self) -> _Connection:
        """Return an idle connection or a new one; after a failure, the server is left alone."""
        try:
            return self._idle.pop()
        except IndexError:
            pass
        if not self._unavailable:
            return self._connect_or_back_off()
        if not self._connecting.acquire(blocking=False):
            self._refuse("the server does not respond; another request is connecting")
        try:
            return self._connect_or_back_off()
        finally:
            self._connecting.release()

    def _connect_or_back_off(self) -> _Connection:
        try:
            connection = self.connect()
            self._require_schema(connection)
        except DatabaseUnavailable as error:
            self._outdated = str(error) if isinstance(error, SchemaOutdated) else None
            self._unavailable = True
            self._retry_at = time.monotonic() + _RETRY_SECONDS
            raise
        self._unavailable = False
        self._outdated = None
        return connection

    def _refuse(self, cause: str) -> NoReturn:
        """Raise the error for a statement that runs without an attempt to connect."""
        if self._outdated is not None:
            raise SchemaOutdated(self._outdated)
        raise DatabaseUnavailable(cause)

    def _require_schema(self, connection: _Connection) -> None:
        """Check the schema unless an earlier connection did; close the connection if that fails."""
        if self._migrated or self.missing_migrations is None:
            return
        try:
            missing = self.missing_migrations(connection)
        except psycopg2.OperationalError as error:
            connection.close()
            raise DatabaseUnavailable(str(error).strip()) from error
        except Exception:
            connection.close()
            raise
        if missing:
            connection.close()
            raise SchemaOutdated(
                f"the database lacks {', '.join(missing)}, which version {atoll.__version__}"
                " requires; run `atoll migrate` of this version, or the playbook site.yml"
            )
        self._migrated = True


def _execute(cursor: psycopg2.extensions.cursor, sql: str, parameters: Parameters) -> None:
    ROUND_TRIPS.inc()
    round_trips.count(round_trips.DATABASE)
    cursor.execute(sql, parameters)


def _end_wait(connection: psycopg2.extensions.connection, backend: int) -> None:
    """Cancel a session that waits in its commit, and return when the session has ended."""
    with connection.cursor() as cursor:
        for _ in range(_CANCEL_ATTEMPTS):
            cursor.execute(_CANCEL, {"pid": backend})
            row = cursor.fetchone()
            if row is None:
                return
            if row[0]:
                log.warning("commit cancelled, no response from the synchronous standby")
            time.sleep(_CANCEL_PAUSE)


def _session_options(statement_timeout: int, given: str) -> str:
    """Return libpq's `options`: defaults, then those of the bundle, then the isolation level.

    The last value of a setting applies, and the options of a connection override the defaults of
    the server, the database and the role. Statements that acquire a lock and then read depend on a
    new snapshot for each statement, so the isolation level is not configurable.
    """
    level = REQUIRED_ISOLATION.replace(" ", "\\ ")
    settings = {
        "statement_timeout": str(statement_timeout),
        "idle_in_transaction_session_timeout": f"{_IDLE_IN_TRANSACTION}s",
        **_SERVER_KEEPALIVE,
        # Compiling takes longer than it saves for the registry's queries.
        "jit": "off",
        # Prepared statements find rows by unique keys. Without it, PostgreSQL plans the statement
        # of tokens in each execution until autovacuum has analyzed small tables, if it ever does.
        "plan_cache_mode": "force_generic_plan",
        "pg_trgm.word_similarity_threshold": str(SIMILARITY),
        OPTIONS_MARK: "on",
    }
    defaults = (f"-c {name}={value}" for name, value in settings.items())
    return " ".join([*defaults, given, f"-c {ISOLATION_SETTING}={level}"])


def hosts_of(uri: str) -> list[dict[str, str]]:
    """Return libpq's arguments for each host of a URI; one empty map unless it names several."""
    parsed = psycopg2.extensions.parse_dsn(uri)
    lists = {
        key: str(parsed[key]).split(",") for key in ("host", "hostaddr", "port") if key in parsed
    }
    count = max((len(values) for values in lists.values()), default=1)
    if count == 1:
        return [{}]
    return [
        {key: values[number if len(values) > 1 else 0] for key, values in lists.items()}
        for number in range(count)
    ]


def _session(uri: str) -> str:
    return str(psycopg2.extensions.parse_dsn(uri).get("target_session_attrs", "read-write"))
