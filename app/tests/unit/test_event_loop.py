"""The loop and the threads of servers: every request is answered, as by waitress' own."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import waitress.server
from atoll.web.server import create_server
from atoll.web.spool import admit_up_to
from atoll.web.task_threads import TaskThreads
from hypothesis import given, settings
from hypothesis import strategies as st

from ..integration.services import wait_until

ANY = admit_up_to(2**40)
LARGE = 8 * 2**20
App = Callable[[dict[str, Any], Callable[..., Any]], Any]


@contextmanager
def running(app: App, *, own: bool = True, **options: Any) -> Iterator[Any]:
    """Run a server, by default one of Atoll, and stop it at the end."""
    options = {"listen": "127.0.0.1:0", "threads": 4, **options}
    server: Any
    if own:
        server = create_server(app, admit=ANY, **options)  # type: ignore[arg-type]
    else:
        server = waitress.server.create_server(app, map={}, ident=None, **options)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.task_dispatcher.shutdown()
        # The loop ends when its map is empty.
        channels = list(server.active_channels.values())
        server._map.clear()
        server.pull_trigger()
        thread.join()
        for channel in channels:
            channel.close()
        server.close()


def connect(server: Any) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", int(server.effective_port)))
    # Only ends a wait that can never succeed.
    connection.settimeout(100)
    return connection


def receive(connection: socket.socket, size: int) -> bytes:
    """Return exactly so many bytes."""
    parts = []
    while size:
        part = connection.recv(min(size, 2**20))
        assert part, "the connection was closed"
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def receive_response(connection: socket.socket) -> bytes:
    """Return the body of a response with a length."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += receive(connection, 1)
    length = next(
        int(line.split(b":")[1])
        for line in head.lower().split(b"\r\n")
        if line.startswith(b"content-length")
    )
    return receive(connection, length)


def echo(environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
    """Return the path after as many milliseconds as the query names."""
    time.sleep(int(environ["QUERY_STRING"] or 0) / 1000)
    body = environ["PATH_INFO"].encode() + environ["wsgi.input"].read()
    start("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def large(environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
    del environ
    start("200 OK", [("Content-Length", str(LARGE))])
    return [bytes(LARGE)]


def test_requests_on_many_connections_are_all_answered_in_order() -> None:
    count, requests = 30, 40

    def ask(server: Any, number: int) -> None:
        chance = random.Random(number)
        with connect(server) as connection:
            for one in range(requests):
                pause = chance.choice(["", "?1", "?3"])
                connection.sendall(f"GET /{number}-{one}{pause} HTTP/1.1\r\n\r\n".encode())
                assert receive_response(connection) == f"/{number}-{one}".encode()
                time.sleep(chance.choice([0, 0, 0.002]))
            finished.append(number)

    finished: list[int] = []
    with running(echo) as server:
        clients = [threading.Thread(target=ask, args=(server, one)) for one in range(count)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
    assert sorted(finished) == list(range(count))


def test_pipelined_requests_and_split_ones_are_answered() -> None:
    with running(echo) as server, connect(server) as connection:
        connection.sendall(b"GET /1 HTTP/1.1\r\n\r\nGET /2?5 HTTP/1.1\r\n\r\nGET /3 HTT")
        assert [receive_response(connection) for _ in range(2)] == [b"/1", b"/2"]
        connection.sendall(b"P/1.1\r\n\r\n")
        assert receive_response(connection) == b"/3"
        body = bytes(2**20)
        connection.sendall(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body))
        for start in range(0, len(body), 2**17):
            connection.sendall(body[start : start + 2**17])
        assert receive_response(connection) == b"/" + body


@pytest.mark.parametrize("piece", [2**20, 2**12])
def test_a_client_that_reads_slowly_gets_a_complete_response(piece: int) -> None:
    options = {"outbuf_overflow": 2**20, "outbuf_high_watermark": 2**18, "threads": 1}

    def streamed(environ: dict[str, Any], start: Callable[..., Any]) -> Iterator[bytes]:
        del environ
        start("200 OK", [("Content-Length", str(LARGE))])
        return (bytes(piece) for _ in range(LARGE // piece))

    with running(streamed, **options) as server, connect(server) as connection:
        for _ in range(2):
            connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
            time.sleep(0.2)
            assert receive_response(connection) == bytes(LARGE)


def test_a_client_that_disconnects_frees_its_connection_and_thread() -> None:
    with running(large, threads=1, outbuf_high_watermark=2**18) as server:
        for _ in range(3):
            with connect(server) as connection:
                connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
                receive(connection, 1000)
        wait_until("the connections are closed", lambda: not server.active_channels)
        with connect(server) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert len(receive_response(connection)) == LARGE


def test_a_client_that_disconnects_during_its_request_frees_its_connection() -> None:
    with running(echo) as server:
        with connect(server) as connection:
            connection.sendall(b"GET /?300 HTTP/1.1\r\n\r\n")
            wait_until("it is served", lambda: any(server.active_channels.values()))
        wait_until("the connection is closed", lambda: not server.active_channels)


def test_idle_connections_are_closed_after_their_time() -> None:
    with (
        running(echo, channel_timeout=1, cleanup_interval=1) as server,
        connect(server) as connection,
    ):
        connection.sendall(b"GET /1 HTTP/1.1\r\n\r\n")
        assert receive_response(connection) == b"/1"
        assert connection.recv(1) == b""


def test_connections_beyond_the_limit_are_served_when_others_end() -> None:
    # The map also has the listener and what wakes the loop.
    with running(echo, connection_limit=4) as server:
        first = [connect(server) for _ in range(2)]
        for one in first:
            one.sendall(b"GET /1 HTTP/1.1\r\n\r\n")
            assert receive_response(one) == b"/1"
        with connect(server) as waiting:
            waiting.sendall(b"GET /2 HTTP/1.1\r\n\r\n")
            for one in first:
                one.close()
            assert receive_response(waiting) == b"/2"


def test_a_request_waits_for_a_thread_without_a_line_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with running(echo, threads=1) as server:
        connections = [connect(server) for _ in range(5)]
        for one in connections:
            one.sendall(b"GET /1?20 HTTP/1.1\r\n\r\n")
        for one in connections:
            assert receive_response(one) == b"/1"
            one.close()
    assert [record for record in caplog.records if "queue" in record.getMessage()] == []


class RecordedTask:
    """A task that lasts until it is released."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.began = threading.Event()
        self.outcome: str | None = None

    def service(self) -> None:
        self.began.set()
        self.released.wait()
        self.outcome = "served"

    def cancel(self) -> None:
        self.outcome = "cancelled"


def test_a_stop_waits_for_running_tasks_and_cancels_the_others() -> None:
    threads = TaskThreads(1)
    tasks = [RecordedTask() for _ in range(3)]
    for task in tasks:
        threads.add_task(task)
    tasks[0].began.wait()
    stopping = threading.Thread(target=threads.shutdown)
    stopping.start()
    wait_until("it stops", lambda: threads._stopping)
    tasks[0].released.set()
    stopping.join()
    assert [task.outcome for task in tasks] == ["served", "cancelled", "cancelled"]


def test_a_task_that_fails_does_not_end_its_thread(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(RecordedTask):
        def service(self) -> None:
            raise SystemExit

    threads = TaskThreads(1)
    threads.add_task(Failing())
    task = RecordedTask()
    task.released.set()
    threads.add_task(task)
    task.began.wait()
    threads.shutdown()
    assert task.outcome == "served"
    assert [record.message for record in caplog.records] == ["unhandled exception"]


@st.composite
def responses(draw: st.DrawFn) -> tuple[str, list[tuple[str, str]], list[bytes]]:
    """Draw status, headers and pieces of a response, also of wrong ones."""
    pieces = draw(st.lists(st.binary(max_size=20), max_size=3))
    status = draw(st.sampled_from(["200 OK", "204 No Content", "304 Not Modified", "404 Not"]))
    headers = draw(
        st.lists(
            st.sampled_from(
                [
                    ("Content-Type", "text/plain"),
                    ("server", "x"),
                    ("x-two-words", "\xe4"),
                    ("Set-Cookie", "a=1"),
                    ("Set-Cookie", "b=2"),
                    ("date", "now"),
                ]
            ),
            max_size=4,
        )
    )
    length = draw(st.none() | st.just(sum(map(len, pieces))) | st.integers(0, 40))
    if length is not None:
        headers.append(("content-length", str(length)))
    return status, headers, pieces


@given(
    response=responses(),
    method=st.sampled_from(["GET", "HEAD", "POST"]),
    version=st.sampled_from(["1.0", "1.1"]),
    connection=st.sampled_from(["", "Connection: close\r\n", "Connection: Keep-Alive\r\n"]),
)
@settings(max_examples=150)
def test_responses_are_those_of_waitress(
    both: tuple[Any, Any, list[Any]],
    response: tuple[str, list[tuple[str, str]], list[bytes]],
    method: str,
    version: str,
    connection: str,
) -> None:
    *servers, current = both
    current[:] = response
    request = f"{method} / HTTP/{version}\r\n{connection}\r\n".encode()
    assert exchange(servers[0], request) == exchange(servers[1], request)


def exchange(server: Any, request: bytes) -> bytes:
    """Return the bytes of the responses to a request and to another one after it."""
    with connect(server) as connection:
        connection.sendall(request + b"GET / HTTP/1.0\r\n\r\n")
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    lines = received.split(b"\r\n")
    return b"\r\n".join(line for line in lines if not line.startswith(b"Date: "))


@pytest.fixture(scope="module")
def both() -> Iterator[tuple[Any, Any, list[Any]]]:
    """Two servers with one application, and the list with its status, headers and pieces."""
    current: list[Any] = []

    def app(environ: dict[str, Any], start: Callable[..., Any]) -> Any:
        del environ
        status, headers, pieces = current
        start(status, list(headers))
        return pieces

    with running(app) as own, running(app, own=False) as other:
        yield own, other, current
