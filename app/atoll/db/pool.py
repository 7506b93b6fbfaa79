"""A pool of PostgreSQL connections, and the two ways to use one.

`Database.run` sends one string, which may hold several statements, in one round trip: PostgreSQL
runs such a string as one transaction, each statement with a snapshot of its own.
`Database.transaction` is for the few places where Python decides between two statements.

After a fail-over the first use of each broken connection fails, and all idle ones with it; the next
ones go to the host that takes writes.
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
from typing import Any

import psycopg2
import psycopg2.errors
import psycopg2.extensions
from prometheus_client import Counter
from psycopg2.extras import DictCursor, register_uuid

from atoll import round_trips
from atoll.config import Bundle
from atoll.config.database_options import ISOLATION_SETTING, REQUIRED_ISOLATION
from atoll.periodic import ServiceUnavailable

log = logging.getLogger(__name__)

Parameters = Mapping[str, Any] | Sequence[Any] | None

# Arguments of Quay's database library that libpq does not know.
_NOT_FOR_LIBPQ = frozenset({"threadlocals", "autorollback", "max_connections", "stale_timeout"})

# A dead server must not hold a request: seconds to connect, milliseconds without an answer to TCP.
_CONNECT_TIMEOUT = 3
_TCP_USER_TIMEOUT = 5000
# Milliseconds that the server gives a statement, and seconds that we wait for its word: a server
# that hangs answers TCP and nothing else, for as long as it likes.
_STATEMENT_TIMEOUT = 5_000
ANSWER_TIMEOUT = 8.0
# Nor may a site that vanished hold the locks of what it was doing, for as long as TCP gives the
# silent: seconds between our words within a transaction, and what PostgreSQL gives TCP.
_IDLE_IN_TRANSACTION = 60
_SERVER_KEEPALIVE = {
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "4",
    "tcp_user_timeout": "30s",
}
# A setting without effect, by which `atoll.db.sessions` sees that `options` reach the server.
OPTIONS_MARK = "atoll.options"
# How psycopg2 spells the messages of RAISE INFO.
_INFO = "INFO:  "
# `statement_timeout` does not limit a COMMIT: one that waits for a synchronous standby, or for the
# lock of NOTIFY behind such a one, would stay indefinitely although its client is gone. Nothing
# else is cancelled, should the process id belong to another session by now.
_CANCEL = """
SELECT CASE WHEN wait_event = 'SyncRep' OR (wait_event_type = 'Lock' AND wait_event = 'object')
       THEN pg_cancel_backend(pid) END
FROM pg_stat_activity WHERE pid = %(pid)s AND usename = current_user AND state = 'active'
"""
# Looks at an abandoned session, which may reach its commit later, and seconds between them: for
# longer than a statement may take.
_CANCEL_LOOKS, _CANCEL_PAUSE = 12, 0.5
# Seconds for which a server that failed is not asked again, so that requests fail at once.
_REST_SECONDS = 1.0

ROUND_TRIPS = Counter("atoll_database_round_trips", "Round trips to PostgreSQL, by what they do")

register_uuid()  # type: ignore[no-untyped-call]


class DatabaseUnavailable(ServiceUnavailable):
    """PostgreSQL cannot be reached, does not answer, or ended the connection."""

    event = "database unavailable"


class _Connection(psycopg2.extensions.connection):
    """A connection that limits every wait for the server, including the one to connect.

    Attributes:
        answer_timeout: seconds to wait for an answer, None without a limit.
        abandoned: whether the connection was closed while the server still worked for it.
        backend: the process id of the server's side.
        host: the arguments of libpq that name the host, empty where DB_URI names only one.
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
        super().__init__(*arguments, **options)
        self.backend: int = self.info.backend_pid

    def take_messages(self) -> list[str]:
        """Return the texts of INFO messages that the server sent since the last call."""
        messages = [
            notice.removeprefix(_INFO).strip()
            for notice in self.notices
            if notice.startswith(_INFO)
        ]
        self.notices.clear()
        return messages


def _wait(connection: psycopg2.extensions.connection) -> None:
    """Wait for the server's answer; psycopg2 closes the connection when this raises."""
    timeout = getattr(connection, "answer_timeout", ANSWER_TIMEOUT)
    deadline = None if timeout is None else time.monotonic() + timeout
    while (state := connection.poll()) != psycopg2.extensions.POLL_OK:
        waiting = select.poll()
        reading = state == psycopg2.extensions.POLL_READ
        waiting.register(connection.fileno(), select.POLLIN if reading else select.POLLOUT)
        left = None if deadline is None else max(deadline - time.monotonic(), 0) * 1000
        if not waiting.poll(left):
            if isinstance(connection, _Connection):
                connection.abandoned = True
            raise psycopg2.OperationalError(f"no answer within {timeout} s")


psycopg2.extensions.set_wait_callback(_wait)


class Database:
    """Connections to a PostgreSQL, at most SIZE at once; safe for any thread.

    Of several hosts only the one that takes WRITES is used, unless that does not matter.

    Attributes:
        on_info: called with the text of each INFO message of a transaction after its commit.
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
    ) -> None:
        self._uri = uri
        self._answer_timeout = answer_timeout
        self._resting_until = 0.0
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
            # Where there are several, others than the primary only read.
            self._arguments.setdefault("target_session_attrs", _session(uri))
        # The host that took the last connection is asked first.
        self._nearest = 0
        # While the server is away one request at a time tries, and the others fail at once.
        self._away = False
        self._trying = threading.Lock()
        self._idle: deque[_Connection] = deque()
        self.on_info: Callable[[str], None] = lambda _message: None
        self._places = threading.BoundedSemaphore(size)

    @classmethod
    def from_bundle(
        cls,
        bundle: Bundle,
        *,
        size: int,
        answer_timeout: float = ANSWER_TIMEOUT,
        statement_timeout: int = _STATEMENT_TIMEOUT,
    ) -> Database:
        """Return the database that DB_URI and DB_CONNECTION_ARGS name.

        ANSWER_TIMEOUT is in seconds, STATEMENT_TIMEOUT in milliseconds.
        """
        return cls(
            bundle.db_uri.get_secret_value(),
            bundle.db_connection_args,
            size=size,
            answer_timeout=answer_timeout,
            statement_timeout=statement_timeout,
        )

    def connect(self) -> _Connection:
        """Open a connection of its own, outside the pool; raise DatabaseUnavailable.

        Each host of DB_URI gets its own time, which libpq does not give where it must not block.
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
        # For libpq 0 means for ever.
        timeout = float(self._arguments["connect_timeout"]) or ANSWER_TIMEOUT
        connection: _Connection = psycopg2.connect(
            self._uri,
            connection_factory=partial(_Connection, connect_timeout=timeout, host=host),
            cursor_factory=DictCursor,
            **self._arguments,
            **host,
        )
        return connection

    def run(self, sql: str, parameters: Parameters = None) -> list[Any]:
        """Run SQL in one round trip and return the rows of its last statement.

        Everything in SQL happens or nothing does. Raises DatabaseUnavailable, or psycopg2's error
        for what PostgreSQL refuses.
        """
        with self._connection() as connection, connection.cursor() as cursor:
            ROUND_TRIPS.inc()
            round_trips.count(round_trips.DATABASE)
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
            if self.resting:
                raise
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
    def _connection(self) -> Iterator[_Connection]:
        if self.resting:
            raise DatabaseUnavailable("it did not answer a moment ago")
        with self._places:
            connection = self._take()
            try:
                yield connection
                messages = connection.take_messages()
            except psycopg2.errors.ReadOnlySqlTransaction as error:
                # It was the primary when the connection was made.
                connection.close()
                self.forget_idle()
                raise DatabaseUnavailable(str(error).strip()) from error
            except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
                if connection.closed:
                    self.forget_idle()
                # What waited for a lock for too long is as good as no answer: try again later.
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
            # The transaction is committed, and its caller must not take it for failed.
            log.exception("message of the server not handled: unhandled exception")

    def _give_back(self, connection: _Connection) -> None:
        if not connection.closed:
            connection.take_messages()
            self._idle.append(connection)
        elif connection.abandoned:
            # The request is over; a server that does not answer may not answer this, either.
            cancel = partial(self._cancel, connection.host, connection.backend)
            threading.Thread(target=cancel, name="cancel", daemon=True).start()

    def _cancel(self, host: Mapping[str, str], backend: int) -> None:
        """End the wait of an abandoned BACKEND, so that such do not use up `max_connections`."""
        try:
            connection = self._connect(host)
            try:
                connection.answer_timeout = self._answer_timeout
                connection.autocommit = True
                _end_wait(connection, backend)
            finally:
                connection.close()
        except psycopg2.Error as error:
            log.info("could not cancel an abandoned statement", extra={"cause": str(error)})

    @property
    def resting(self) -> bool:
        """Tell whether the server failed a moment ago and is not asked now."""
        return time.monotonic() < self._resting_until

    def _take(self) -> _Connection:
        """Return an idle connection or a new one. A server that refuses one gets a rest."""
        try:
            return self._idle.pop()
        except IndexError:
            pass
        if not self._away:
            return self._try()
        if not self._trying.acquire(blocking=False):
            raise DatabaseUnavailable("it does not answer; another request is trying")
        try:
            return self._try()
        finally:
            self._trying.release()

    def _try(self) -> _Connection:
        try:
            connection = self.connect()
        except DatabaseUnavailable:
            self._away = True
            self._resting_until = time.monotonic() + _REST_SECONDS
            raise
        self._away = False
        return connection


def _end_wait(connection: psycopg2.extensions.connection, backend: int) -> None:
    """Cancel the wait of BACKEND within its commit, and return when the session is over."""
    with connection.cursor() as cursor:
        for _ in range(_CANCEL_LOOKS):
            cursor.execute(_CANCEL, {"pid": backend})
            row = cursor.fetchone()
            if row is None:
                return
            if row[0]:
                log.warning("commit abandoned: no answer from the synchronous standby")
            time.sleep(_CANCEL_PAUSE)


def _session_options(statement_timeout: int, given: str) -> str:
    """Return libpq's `options`: defaults, then those GIVEN in the bundle, then the isolation level.

    The last value of a setting counts, and the options of a connection override the defaults of the
    server, the database and the role. Every "take the lock, then read" in the SQL needs a new
    snapshot for each statement, so the isolation level cannot be chosen.
    """
    level = REQUIRED_ISOLATION.replace(" ", "\\ ")
    settings = {
        "statement_timeout": str(statement_timeout),
        "idle_in_transaction_session_timeout": f"{_IDLE_IN_TRANSACTION}s",
        **_SERVER_KEEPALIVE,
        # To compile a query takes longer than any of ours gains by it.
        "jit": "off",
        OPTIONS_MARK: "on",
    }
    defaults = (f"-c {name}={value}" for name, value in settings.items())
    return " ".join([*defaults, given, f"-c {ISOLATION_SETTING}={level}"])


def hosts_of(uri: str) -> list[dict[str, str]]:
    """Return what names each host of URI to libpq; nothing where there is one, or none."""
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
