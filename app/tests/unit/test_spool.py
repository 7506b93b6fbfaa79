from __future__ import annotations

import json
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
from atoll.web.errors import envelope
from atoll.web.server import create_server
from atoll.web.spool import REFUSALS, Refused, SpooledRequest, admit_up_to
from waitress.adjustments import Adjustments

from ..integration.services import wait_until

MEBIBYTE = 2**20
ANY = admit_up_to(2**40)


def disk(monkeypatch: pytest.MonkeyPatch, *, size: int, free: int) -> None:
    answer = SimpleNamespace(f_frsize=1, f_blocks=size, f_bavail=free)
    monkeypatch.setattr(os, "statvfs", lambda _path: answer)


def request(size: int) -> SpooledRequest:
    begun = SpooledRequest(Adjustments(max_request_body_size=2**40), admit=ANY)
    begun.received(f"PATCH / HTTP/1.1\r\nContent-Length: {size}\r\n\r\n".encode())
    return begun


def test_a_body_that_fits_is_received(monkeypatch: pytest.MonkeyPatch) -> None:
    disk(monkeypatch, size=100 * MEBIBYTE, free=50 * MEBIBYTE)
    begun = request(MEBIBYTE)
    begun.received(bytes(MEBIBYTE))
    assert begun.completed
    assert begun.error is None


def test_a_body_that_does_not_fit_is_refused_before_it_is_received(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    disk(monkeypatch, size=100 * MEBIBYTE, free=50 * MEBIBYTE)
    begun = request(49 * MEBIBYTE)
    assert begun.completed
    status, headers, body = begun.error.to_response()
    assert status.startswith("503")
    assert int(dict(headers)["Retry-After"]) > 0
    assert json.loads(body)["errors"][0]["code"] == "UNAVAILABLE"


def test_a_small_body_is_received_even_if_the_disk_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    disk(monkeypatch, size=100 * MEBIBYTE, free=0)
    begun = request(1000)
    begun.received(bytes(1000))
    assert begun.completed
    assert begun.error is None


def test_a_request_fails_if_the_disk_fills_up_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    disk(monkeypatch, size=100 * MEBIBYTE, free=50 * MEBIBYTE)
    begun = request(10 * MEBIBYTE)
    begun.received(bytes(MEBIBYTE))
    assert not begun.completed

    def full(*_arguments: object, **_more: object) -> NoReturn:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(begun.body_rcv.getbuf(), "append", full)
    assert begun.received(bytes(MEBIBYTE)) == MEBIBYTE
    assert begun.completed
    assert begun.error.code == 503


def test_a_body_of_unknown_length_does_not_use_the_reserve(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = SpooledRequest(Adjustments(), admit=ANY)
    begun.received(b"PATCH / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    disk(monkeypatch, size=100 * MEBIBYTE, free=MEBIBYTE)
    begun.received(b"100000\r\n" + bytes(MEBIBYTE) + b"\r\n")
    assert begun.completed
    assert begun.error.code == 503


@pytest.mark.parametrize(
    ("headers", "body", "is_unread"),
    [
        ("Content-Length: 20", [b""], True),
        ("Content-Length: 20", [bytes(19)], True),
        ("Content-Length: 20", [bytes(20)], False),
        ("Transfer-Encoding: chunked", [b"", b"14\r\n" + bytes(20) + b"\r\n"], True),
        ("Transfer-Encoding: chunked", [b"", b"14\r\n" + bytes(20) + b"\r\n0\r\n\r\n"], False),
    ],
)
def test_nginx_closes_the_connection_of_an_unread_body_only(
    headers: str, body: list[bytes], is_unread: bool
) -> None:
    begun = SpooledRequest(Adjustments(), admit=admit_up_to(10))
    begun.received(f"PUT / HTTP/1.1\r\n{headers}\r\n\r\n".encode() + body[0])
    for data in body[1:]:
        begun.received(data)
    assert begun.completed
    status, response_headers, content = begun.error.to_response()
    assert status.startswith("413 ")
    expected = {"X-Accel-Redirect": "@refused_413", "X-Refusal": content.decode()}
    sent = dict(response_headers)
    assert {name: sent[name] for name in expected if name in sent} == (
        expected if is_unread else {}
    )


@pytest.mark.parametrize("status", [*REFUSALS, 418])
def test_a_refusal_is_one_header_of_ascii(status: int) -> None:
    refused = Refused(f"{status} Any", {"Allow": "GET"}, envelope("DENIED", "a\r\n\u2028\xe4"))
    refused.body_is_unread = True
    _, headers, content = refused.to_response()
    sent = dict(headers)
    assert sent["Allow"] == "GET"
    # nginx has no location for other statuses, and sends them as they are.
    assert sent.get("X-Accel-Redirect") == (f"@refused_{status}" if status != 418 else None)
    refusal = sent.get("X-Refusal", "")
    assert refusal.isascii()
    assert refusal.isprintable()
    assert refusal == ("" if status == 418 else content.decode())


def empty(_environ: object, start: Callable[..., object]) -> list[bytes]:
    """Answer any request with an empty 200 response."""
    start("200 OK", [("Content-Length", "0")])
    return []


@pytest.fixture
def connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A connection to a server whose spool is `tmp_path`."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    path = str(tmp_path / "web.sock")
    app: Any = empty
    server: Any = create_server(
        app, admit=ANY, threads=4, unix_socket=path, unix_socket_perms="600"
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(path)
        yield client
    wait_until("the connection is closed", lambda: not server.active_channels)
    server.task_dispatcher.shutdown()
    # The loop ends when its map of sockets is empty.
    server._map.clear()
    server.pull_trigger()
    thread.join()
    server.close()


def spooled(directory: Path) -> int:
    """Return the number of unnamed files that this process has open in `directory`."""
    found = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            found += descriptor.readlink().is_relative_to(directory)
        except FileNotFoundError:  # the descriptor of this listing
            continue
    return found


def test_a_client_that_continues_to_send_a_refused_body_gets_the_response(
    connection: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """nginx continues to send, and reports a bad gateway if the connection is closed."""
    disk(monkeypatch, size=100 * MEBIBYTE, free=MEBIBYTE)
    connection.sendall(f"PATCH / HTTP/1.1\r\nContent-Length: {50 * MEBIBYTE}\r\n\r\n".encode())
    answer = b"".join(iter(lambda: connection.recv(65536), b""))
    for _ in range(50):
        connection.sendall(bytes(MEBIBYTE))
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: " in answer


def test_a_body_of_a_disconnected_client_is_deleted(
    connection: socket.socket, tmp_path: Path
) -> None:
    # nginx reuses connections, so a body may follow other requests.
    connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
    assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
    connection.sendall(f"PATCH / HTTP/1.1\r\nContent-Length: {50 * MEBIBYTE}\r\n\r\n".encode())
    connection.sendall(bytes(10 * MEBIBYTE))
    wait_until("the body is spooled", lambda: spooled(tmp_path) == 1)
    connection.close()
    wait_until("the file is deleted", lambda: spooled(tmp_path) == 0)
