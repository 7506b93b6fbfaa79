"""Reads of Redis on connections that are kept: each answer belongs to its own question."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import BinaryIO

import pytest
import redis
from atoll.db.redis_reads import RedisReads
from redis.backoff import NoBackoff
from redis.retry import Retry

# Seconds; one test waits for it.
TIMEOUT = 3


class Server:
    """A Redis that returns the name of each key as its value, and knows no other command.

    Attributes:
        silent: whether it answers no MGET.
        connections: the connections that it accepted.
        asked: the keys of each MGET.
    """

    def __init__(self) -> None:
        self.silent = False
        self.connections: list[socket.socket] = []
        self.asked: list[list[bytes]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        _shut_down(self._listener)
        self._listener.close()
        self.disconnect()

    def disconnect(self) -> None:
        """Close all connections, as a restart of the server does."""
        for connection in self.connections:
            _shut_down(connection)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection.makefile("rwb", buffering=0) as stream:
            reader = connection.makefile("rb")
            while words := _command(reader):
                if words[0] != b"MGET":
                    stream.write(b"%1\r\n+proto\r\n:3\r\n" if words[0] == b"HELLO" else b"+OK\r\n")
                    continue
                self.asked.append(words[1:])
                if not self.silent:
                    stream.write(b"*%d\r\n" % (len(words) - 1))
                    for key in words[1:]:
                        missing = key.startswith(b"missing")
                        stream.write(b"_\r\n" if missing else b"$%d\r\n%s\r\n" % (len(key), key))


def _shut_down(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)


def _command(reader: BinaryIO) -> list[bytes]:
    try:
        head = reader.readline()
        return [
            reader.read(int(reader.readline()[1:]) + 2)[:-2] for _ in range(int(head[1:] or b"0"))
        ]
    except (OSError, ValueError):
        return []


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def reads(server: Server) -> RedisReads:
    return RedisReads(
        redis.Redis(
            port=server.port,
            socket_timeout=TIMEOUT,
            socket_connect_timeout=TIMEOUT,
            retry=Retry(NoBackoff(), 0),
        )
    )


def test_values_come_in_the_order_of_their_keys(reads: RedisReads) -> None:
    for _ in range(2):
        assert reads.get(("a", "missing", "\u00e4", "")) == [b"a", None, "\u00e4".encode(), b""]


def test_one_connection_serves_calls_one_after_another(server: Server, reads: RedisReads) -> None:
    for number in range(5):
        reads.get((str(number),))
    assert len(server.connections) == 1


def test_concurrent_calls_get_their_own_answers(server: Server, reads: RedisReads) -> None:
    def ask(number: int) -> bool:
        return reads.get((f"a{number}", f"b{number}")) == [b"a%d" % number, b"b%d" % number]

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(ask, range(200)))
    assert len(server.connections) <= 4


def test_connections_that_the_server_closed_are_replaced_at_once(
    server: Server, reads: RedisReads
) -> None:
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda number: reads.get((str(number),)), range(30)))
    server.disconnect()
    for number in range(3):
        assert reads.get((str(number),)) == [b"%d" % number]


def test_a_call_without_an_answer_fails_once_and_its_connection_is_not_used_again(
    server: Server, reads: RedisReads
) -> None:
    reads.get(("a",))
    server.silent = True
    with pytest.raises(redis.TimeoutError):
        reads.get(("b",))
    # Its caller waited long enough, so it is not repeated.
    assert server.asked == [[b"a"], [b"b"]]
    server.silent = False
    assert reads.get(("c",)) == [b"c"]
    assert len(server.connections) == 2


def test_an_unreachable_server_is_reported(server: Server, reads: RedisReads) -> None:
    reads.get(("a",))
    server.close()
    for _ in range(2):
        with pytest.raises(redis.ConnectionError):
            reads.get(("a",))
