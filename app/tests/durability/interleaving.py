"""Run operations in threads that pause before each SQL statement, commit and store request.

A test decides which operation continues and until when, so interleavings are reproducible. Code
outside of an operation never pauses.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Any

import psycopg2
from atoll.db.pool import Database, Parameters
from atoll.db.statement import Statement
from psycopg2.extras import DictCursor

_SAFETY_SECONDS = 120.0
# Seconds between checks of whether a running operation waits for a lock in PostgreSQL.
_POLL_SECONDS = 0.004
# A string of several statements is split, so that an operation can stop between them.
_STATEMENT = re.compile(rb"(?:'(?:[^']|'')*'|\"[^\"]*\"|--[^\n]*|[^;'\"-]|-)+")

STATEMENT, COMMIT, REQUEST, ANY = "statement", "commit", "request", "any"

_BLOCKED = "SELECT cardinality(pg_blocking_pids(%s)) > 0"


class Killed(BaseException):
    """Simulates the death of the operation's process; nothing after that is carried out."""


class State(Enum):
    RUNNING = "running"
    STOPPED = "stopped"
    BLOCKED = "blocked"
    ENDED = "ended"


@dataclass(frozen=True)
class Stop:
    """The stop with index `count` among those of `kind`: statement, commit, request, or any."""

    kind: str
    count: int


class Operation:
    """A call in its own thread, which runs only while `advance` or `finish` waits for it.

    Attributes:
        result: the return value of the call.
        error: the exception that it raised; Killed after `kill`.
        stops: the stops that it has reached.
    """

    _current = threading.local()

    def __init__(self, call: Callable[[], Any], observer: psycopg2.extensions.connection) -> None:
        self.result: Any = None
        self.error: BaseException | None = None
        self.stops: list[str] = []
        self._call = call
        self._observer = observer
        self._changed = threading.Condition()
        self._state = State.STOPPED
        self._until: Stop | None = None
        self._passed = 0
        self._killed = False
        self._connection: Any = None
        self._thread = threading.Thread(target=self._run, name="operation", daemon=True)
        self._thread.start()

    @classmethod
    def current(cls) -> Operation | None:
        """Return the operation of this thread."""
        return getattr(cls._current, "operation", None)

    @property
    def in_transaction(self) -> bool:
        """Return whether it stopped within a transaction, so that it may hold locks."""
        return self._connection is not None

    def advance(self, until: Stop | None) -> State:
        """Run until a stop, counted from here, or to the end.

        Returns:
            STOPPED, ENDED, or BLOCKED while it waits for a lock.
        """
        with self._changed:
            if self._state is State.ENDED:
                return State.ENDED
            if self._state is State.STOPPED:
                self._until, self._passed = until, 0
                self._state = State.RUNNING
                self._changed.notify_all()
        return self._wait()

    def finish(self, *others: Operation) -> None:
        """Run to the end, together with `others` whose locks it may wait for."""
        deadline = time.monotonic() + _SAFETY_SECONDS
        operations = (self, *others)
        while [one for one in operations if one.advance(None) is not State.ENDED]:
            assert time.monotonic() < deadline, "operations wait for each other indefinitely"
        self._thread.join()

    def kill(self) -> None:
        """End the thread at its stop, as if its process had died."""
        self._killed = True
        self.finish()

    def lose_session(self) -> None:
        """Terminate its session, as PostgreSQL does after the idle timeout."""
        if self._connection is None:
            return
        with self._observer.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", [self._pid])
            deadline = time.monotonic() + _SAFETY_SECONDS
            while cursor.fetchall():
                assert time.monotonic() < deadline, "a session does not end"
                time.sleep(0.001)
                cursor.execute("SELECT FROM pg_stat_activity WHERE pid = %s", [self._pid])

    def stop(self, kind: str, where: str) -> None:
        """Pause if this is the requested stop. Called in the thread of the operation."""
        with self._changed:
            self.stops.append(where)
            if self._until is not None and self._until.kind in (kind, ANY):
                if self._passed == self._until.count:
                    self._state = State.STOPPED
                    self._changed.notify_all()
                    self._changed.wait_for(lambda: self._state is State.RUNNING)
                else:
                    self._passed += 1
        if self._killed:
            raise Killed

    def use(self, connection: Any) -> None:
        """Record the connection of the open transaction; None without one."""
        self._connection = connection
        if connection is not None:
            self._pid = connection.get_backend_pid()

    def _run(self) -> None:
        self._current.operation = self
        with self._changed:
            self._changed.wait_for(lambda: self._state is State.RUNNING)
        try:
            if not self._killed:
                self.result = self._call()
        except BaseException as error:
            self.error = error
        with self._changed:
            self._state = State.ENDED
            self._changed.notify_all()

    def _wait(self) -> State:
        deadline = time.monotonic() + _SAFETY_SECONDS
        while time.monotonic() < deadline:
            with self._changed:
                if self._changed.wait_for(lambda: self._state is not State.RUNNING, _POLL_SECONDS):
                    return self._state
            if self._is_blocked():
                return State.BLOCKED
        raise AssertionError(f"an operation does not continue after {self.stops}")

    def _is_blocked(self) -> bool:
        if self._connection is None:
            return False
        with self._observer.cursor() as cursor:
            cursor.execute(_BLOCKED, [self._pid])
            return bool(cursor.fetchall()[0][0])


def stop(kind: str, where: str) -> None:
    """Pause the operation of this thread, if any, at the stop that the test requested."""
    operation = Operation.current()
    if operation is not None:
        operation.stop(kind, where)


class _StoppingCursor(DictCursor):
    """A cursor that sends the statements of an operation one by one and pauses before each."""

    def execute(self, query: Any, vars: Any = None) -> Any:  # noqa: A002 - psycopg2's name
        if Operation.current() is None:
            return super().execute(query, vars)
        for statement in _STATEMENT.findall(self.mogrify(query, vars)):
            if statement.strip():
                stop(STATEMENT, statement.strip()[:60].decode(errors="replace"))
                super().execute(statement)
        return None


class StoppingDatabase(Database):
    """A database that pauses the running operation before each statement.

    A string of statements remains one transaction, with a stop before its commit.
    """

    def _connect(self, host: Any) -> Any:
        connection = super()._connect(host)
        connection.cursor_factory = _StoppingCursor
        return connection

    def run(self, sql: str | Statement, parameters: Parameters = None) -> list[Any]:
        if Operation.current() is None:
            return super().run(sql, parameters)
        with self.transaction() as cursor:
            cursor.execute(sql.sql if isinstance(sql, Statement) else sql, parameters)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def transaction(self) -> Iterator[psycopg2.extensions.cursor]:
        operation = Operation.current()
        with super().transaction() as cursor:
            if operation is None:
                yield cursor
                return
            operation.use(cursor.connection)
            try:
                yield cursor
                operation.stop(COMMIT, "COMMIT")
            except BaseException:
                operation.use(None)
                raise
        operation.use(None)
