"""Reads of several keys with little overhead.

redis-py selects a connection, tests its socket and observes the command for each call, which takes
as long as the rest of the call. Here connections are kept outside of its pool, each for one call at
a time, and are tested by their use.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import redis


class RedisReads:
    """Gets keys on connections of its own; safe for any thread."""

    def __init__(self, client: redis.Redis) -> None:
        self._pool = client.connection_pool
        self._idle: deque[Any] = deque()

    def get(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the value of each key; None for missing keys.

        Raises:
            redis.RedisError: Redis cannot be reached, or does not respond in time.
        """
        try:
            connection = self._idle.pop()
        except IndexError:
            return self._get(self._pool.get_connection(), keys)
        try:
            return self._get(connection, keys)
        except redis.ConnectionError:
            # The server has closed it since its last use, and probably the others, too.
            self._close_idle()
        return self._get(self._pool.get_connection(), keys)

    def _get(self, connection: Any, keys: Sequence[str]) -> list[bytes | None]:
        try:
            connection.send_packed_command([_command(keys)], check_health=False)
            answer: list[bytes | None] = connection.read_response()
        except BaseException:
            # An answer that comes later must not be read as that of another command.
            connection.disconnect()
            self._pool.release(connection)
            raise
        self._idle.append(connection)
        return answer

    def _close_idle(self) -> None:
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:
                return
            connection.disconnect()
            self._pool.release(connection)


def _command(keys: Sequence[str]) -> bytes:
    """Return MGET in the protocol of Redis: an array of strings with their lengths."""
    words = [b"MGET", *(key.encode() for key in keys)]
    parts = [b"*%d\r\n" % len(words), *(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)]
    return b"".join(parts)
