"""Requests without credentials, of every kind that could leave something behind in the server."""

from __future__ import annotations

import itertools
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException

from .raw import connect, head, read_answer

KIBIBYTE = 2**10


@dataclass(frozen=True)
class Kind:
    """A kind of request: a function that makes the n-th one, and whether it ends the connection."""

    name: str
    make: Callable[[int], tuple[str, bytes]]
    weight: int = 1
    closes: bool = False


def _request(
    method: str, path: str, *headers: str, body: bytes = b"", announced: int | None = None
) -> tuple[str, bytes]:
    length = len(body) if announced is None else announced
    lengths = [f"Content-Length: {length}"] if length or method in {"POST", "PUT", "PATCH"} else []
    return method, head(method, path, *lengths, *headers) + body


def _form(number: int) -> bytes:
    # Without a user name, because wrong passwords are counted against the address of other tests.
    return f"grant_type=password&scope=repository:a/{number}:pull".encode()


def _account(number: int) -> bytes:
    return json.dumps({"username": f"X{number}", "password": "x", "email": "none"}).encode()


_FORM = "Content-Type: application/x-www-form-urlencoded"
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _method(number: int, length: int) -> str:
    name = "".join(_LETTERS[number // 26**power % 26] for power in range(4))
    return f"{name}-{length * 'M'}"


# nginx answers the small ones by itself; the others reach the application.
KINDS = [
    Kind("unknown method", lambda n: _request(_method(n, 10), f"/v2/x{n}/tags/list"), 8),
    Kind("long method", lambda n: _request(_method(n, 3000), "/v2/"), 4),
    Kind("unknown path", lambda n: _request("GET", f"/path-{n}/{n}"), 4),
    Kind("unknown path of the API", lambda n: _request("GET", f"/api/v1/path-{n}/{n}"), 4),
    Kind("unknown repository", lambda n: _request("GET", f"/v2/a{n}/b{n}/manifests/t{n}"), 4),
    Kind("unknown health check", lambda n: _request("GET", f"/health/{n}"), 4),
    Kind("long path", lambda n: _request("GET", f"/v2/{n}/{3000 * 'p'}"), 2),
    Kind("long query", lambda n: _request("GET", f"/v2/_catalog?n={n}&last={3000 * 'q'}"), 2),
    Kind("many parameters", lambda n: _request("GET", f"/v2/?{n}" + 500 * "&k=v"), 1),
    Kind("token with odd scopes", lambda n: _request("GET", _scopes(n)), 2),
    Kind("token form", lambda n: _request("POST", "/v2/auth", _FORM, body=_form(n)), 2),
    Kind("forged token", lambda n: _request("GET", "/v2/", f"Authorization: Bearer {n}.x.y"), 2),
    Kind("forwarded", lambda n: _request("GET", "/v2/", f"X-Forwarded-For: 1.2.3.4, {n}"), 2),
    Kind("request id", lambda n: _request("GET", "/v2/", f"X-Request-Id: {n}"), 2),
    Kind(
        "oversized headers",
        lambda n: _request("GET", "/v2/", f"X-{n}: " + 40 * KIBIBYTE * "h"),
        closes=True,
    ),
    Kind("body to health", lambda n: _request("POST", f"/health?{n}", body=20480 * b"h"), 1),
    Kind("body of GET", lambda n: _request("GET", f"/v2/a/b{n}/tags/list", body=8192 * b"g"), 1),
    Kind(
        "large sign-in", lambda n: _request("POST", f"/api/v1/signin?{n}", body=200_000 * b"s"), 1
    ),
    Kind("registration", lambda n: _request("POST", "/api/v1/user/", body=_account(n)), 1),
    Kind(
        "announced layer",
        lambda n: _request("PATCH", f"/v2/a/b{n}/blobs/uploads/{n}", announced=2**30),
        2,
        closes=True,
    ),
    Kind(
        "announced manifest",
        lambda n: _request("PUT", f"/v2/a/b/manifests/{n}", announced=2**20),
        2,
        closes=True,
    ),
    Kind(
        "too large for its path",
        lambda n: _request("POST", f"/path-{n}", announced=2**30),
        2,
        closes=True,
    ),
]


def _scopes(number: int) -> str:
    # Every second request has only well-formed scopes.
    odd = ("repository:*:*", "%20") if number % 2 else ()
    scopes = (f"repository:x{number}/y:pull,push,z", "registry:catalog:*", *odd)
    return "/v2/auth?service=registry.test&" + "&".join(f"scope={scope}" for scope in scopes)


def _requests(start: int, number: int) -> Iterator[tuple[Kind, str, bytes]]:
    """Yield a number of requests, of all kinds by their weights."""
    cycle = [kind for kind in KINDS for _ in range(kind.weight)]
    for index in range(start, start + number):
        kind = cycle[index % len(cycle)]
        yield kind, *kind.make(index)


class Flood:
    """Sends requests over several connections, each of which is reused as long as possible."""

    def __init__(self, url: str, number: int, *, threads: int = 8, start: int = 0) -> None:
        self._url = url
        share = number // threads
        self._threads = [
            threading.Thread(target=self._send, args=(start + thread * share, share))
            for thread in range(threads)
        ]
        self._lock = threading.Lock()
        self.statuses: dict[str, set[int]] = {}
        self.answered = 0

    def run(self) -> None:
        """Send all requests, and read all responses."""
        for thread in self._threads:
            thread.start()
        for thread in self._threads:
            thread.join()

    def _send(self, start: int, number: int) -> None:
        statuses: dict[str, set[int]] = {}
        answered = 0
        connection: socket.socket | None = None
        for kind, method, request in _requests(start, number):
            connection = connection or connect(self._url)
            status = 0
            with suppress(OSError, HTTPException):
                connection.sendall(request)
                answer = read_answer(connection, method)
                status = answer.status
                if not kind.closes and answer.headers.get("connection") != "close":
                    answered += 1
                    statuses.setdefault(kind.name, set()).add(status)
                    continue
            # Refused bodies are not sent; a connection may also be reset before the response.
            answered += status > 0
            statuses.setdefault(kind.name, set()).add(status)
            connection.close()
            connection = None
        if connection is not None:
            connection.close()
        with self._lock:
            self.answered += answered
            for name, found in statuses.items():
                self.statuses.setdefault(name, set()).update(found)


def hold_unfinished(url: str, number: int) -> list[socket.socket]:
    """Open connections with unfinished headers or bodies."""
    beginnings = itertools.cycle(
        [
            b"GET /v2/ HTTP/1.1\r\nHost: registry.test\r\nX-Slow: ",
            head("POST", "/v2/auth", "Content-Length: 60000") + b"x",
            head("POST", "/api/v1/signin", "Content-Length: 900000") + b"{",
            head("POST", "/health", "Transfer-Encoding: chunked") + b"1\r\nx\r\n",
        ]
    )
    held = []
    for beginning in itertools.islice(beginnings, number):
        connection = connect(url)
        connection.sendall(beginning)
        held.append(connection)
    return held
