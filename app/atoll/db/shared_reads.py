"""Let concurrent requests for the same thing share a query.

In a rollout, many hosts pull the same image at the same time. A query answers only requests that
arrived before it began, so no request gets an older answer than from a query of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Generic, NoReturn, TypeVar

Value = TypeVar("Value")
# Seconds that a request waits for the query in progress. Then it does not wait for a next one: far
# from the database, that would take twice as long as a query of its own.
_PATIENCE = 0.005


class _Follower(Generic[Value]):
    """A request that arrived during a query.

    Attributes:
        woken: is released when the request has an answer, or has to query for itself and others.
        others: the requests that it has to query for.
        answer: returns the value of the shared query, or raises its error.
    """

    def __init__(self) -> None:
        self.woken = threading.Lock()
        self.woken.acquire()
        self.others: list[_Follower[Value]] = []
        self.answer: Callable[[], Value] | None = None


class SharedReads(Generic[Value]):
    """Queries by key, at most one at a time for each key while it is quick. Thread-safe.

    Args:
        patience: seconds that a request waits for a query that began before it.
    """

    def __init__(self, patience: float = _PATIENCE) -> None:
        self._patience = patience
        self._lock = threading.Lock()
        # The requests that arrived since the query in progress began, by key.
        self._waiting: dict[Hashable, list[_Follower[Value]]] = {}

    def read(self, key: Hashable, query: Callable[[], Value]) -> Value:
        """Return the result of a query that begins after this call.

        Args:
            key: what is queried. Requests with equal keys may get the same object.
            query: runs the query. Its errors are raised for all requests that share it.
        """
        follower = self._follow(key)
        if follower is None:
            return self._lead(key, query, [])
        if not follower.woken.acquire(timeout=self._patience):
            if self._leave(key, follower):
                return query()
            # The query that includes this request has begun.
            follower.woken.acquire()
        if follower.answer is None:
            return self._lead(key, query, follower.others)
        return follower.answer()

    def _follow(self, key: Hashable) -> _Follower[Value] | None:
        """Join those that wait for the query in progress; return None if there is none."""
        with self._lock:
            if key not in self._waiting:
                self._waiting[key] = []
                return None
            follower: _Follower[Value] = _Follower()
            self._waiting[key].append(follower)
            return follower

    def _leave(self, key: Hashable, follower: _Follower[Value]) -> bool:
        """Wait no longer; return False if a query for this request has begun."""
        with self._lock:
            waiting = self._waiting.get(key, [])
            if follower not in waiting:
                return False
            waiting.remove(follower)
            return True

    def _lead(
        self, key: Hashable, query: Callable[[], Value], others: list[_Follower[Value]]
    ) -> Value:
        """Query for this request and others, then let those that have arrived since query."""
        try:
            value = query()
        except BaseException as error:
            self._end(key, others, _raising(error))
            raise
        self._end(key, others, lambda: value)
        return value

    def _end(
        self, key: Hashable, others: list[_Follower[Value]], answer: Callable[[], Value]
    ) -> None:
        with self._lock:
            waiting = self._waiting.pop(key)
            if waiting:
                self._waiting[key] = []
        if waiting:
            first, *first.others = waiting
            first.woken.release()
        for follower in others:
            follower.answer = answer
            follower.woken.release()


def _raising(error: BaseException) -> Callable[[], NoReturn]:
    def answer() -> NoReturn:
        raise error

    return answer
