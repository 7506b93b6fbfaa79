"""Run operations in threads that stop before each SQL statement, commit and store request.

A test decides which operation continues and for how long, so an interleaving is repeatable. Outside
an operation nothing stops.
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
from psycopg2.extras import DictCursor

_SAFETY_SECONDS = 120.0
# Seconds: how long a running operation is waited for before PostgreSQL is asked about its locks.
_POLL_SECONDS = 0.004
# A string of several statements is split, so that an operation can stop between any two of them.
_STATEMENT = re.compile(rb"(?:'(?:[^']|'')*'|\"[^\"]*\"|--[^\n]*|[^;'\"-]|-)+")

STATEMENT, COMMIT, REQUEST, ANY = "statement", "commit", "request", "any"

_BLOCKED = "SELECT cardinality(pg_blocking_pids(%s)) > 0"


class Killed(BaseException):
    """The process of the operation died; nothing after that is carried out."""


class State(Enum):
    RUNNING = "running"
    STOPPED = "stopped"
    BLOCKED = "blocked"
    ENDED = "ended"


@dataclass(frozen=True)
class Stop:
    """The stop number `count`, from 0, of those of one `kind`: statement, commit, request, or any."""

    kind: str
    count: int


class Operation:
    """`call` in a thread of its own, which runs only while `advance` or `finish` waits for it.

    Attributes:
        result: what the call returned.
        error: what it raised; Killed after `kill`.
        stops: where it stopped so far.
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
        """Whether it stopped within a transaction, and may hold locks."""
        return self._connection is not None

    def advance(self, until: Stop | None) -> State:
        """Run `until` a stop, counted from here, or to the end.

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
        """Run to the end, with `others` whose locks this may wait for."""
        deadline = time.monotonic() + _SAFETY_SECONDS
        operations = (self, *others)
        while [one for one in operations if one.advance(None) is not State.ENDED]:
            assert time.monotonic() < deadline, "operations wait for each other indefinitely"
        self._thread.join()

    def kill(self) -> None:
        """End the thread where it stopped, as if its process had died."""
        self._killed = True
        self.finish()

    def lose_session(self) -> None:
        """Terminate its session, as PostgreSQL does with a client that is silent for too long."""
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
        """Wait here if this is where to stop; called in the operation's own thread."""
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
        """Note the connection whose transaction is open; None afterwards."""
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
    """Stop the operation of this thread, if there is one, where the test wants it to stop."""
    operation = Operation.current()
    if operation is not None:
        operation.stop(kind, where)


class _StoppingCursor(DictCursor):
    """A cursor that, within an operation, sends one statement at a time and stops before each."""

    def execute(self, query: Any, vars: Any = None) -> Any:  # noqa: A002 - psycopg2's name
        if Operation.current() is None:
            return super().execute(query, vars)
        for statement in _STATEMENT.findall(self.mogrify(query, vars)):
            if statement.strip():
                stop(STATEMENT, statement.strip()[:60].decode(errors="replace"))
                super().execute(statement)
        return None


class StoppingDatabase(Database):
    """A Database whose statements are stops of the operation that runs them.

    What `run` sends as one string is one transaction here, too, with a stop before its commit.
    """

    def _connect(self, host: Any) -> Any:
        connection = super()._connect(host)
        connection.cursor_factory = _StoppingCursor
        return connection

    def run(self, sql: str, parameters: Parameters = None) -> list[Any]:
        if Operation.current() is None:
            return super().run(sql, parameters)
        with self.transaction() as cursor:
            cursor.execute(sql, parameters)
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
