"""Requests that no HTTP library would send, over plain sockets."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import Any
from urllib.parse import urlsplit

# Seconds without a byte after which a test fails instead of hanging.
SAFETY = 120


@dataclass(frozen=True)
class Answer:
    """A response: its status, its headers with lower-case names, and its body."""

    status: int
    headers: dict[str, str]
    body: bytes

    def codes(self) -> list[str]:
        """Return the error codes of a body in the registry's error format."""
        document: dict[str, Any] = json.loads(self.body)
        return [str(error["code"]) for error in document["errors"]]


def connect(url: str) -> socket.socket:
    """Connect to the host and port of a URL."""
    address = urlsplit(url)
    return socket.create_connection((address.hostname, address.port), timeout=SAFETY)


def head(method: str, path: str, *headers: str, host: str = "registry.test") -> bytes:
    """Return a request line and headers."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *headers]
    return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"


def read_answer(connection: socket.socket, method: str = "GET") -> Answer:
    """Read one response."""
    response = HTTPResponse(connection, method=method)
    response.begin()
    return Answer(
        response.status,
        {name.lower(): value for name, value in response.getheaders()},
        response.read(),
    )


def exchange(url: str, request: bytes, method: str = "GET") -> Answer:
    """Send a request on a new connection and read the response."""
    with connect(url) as connection:
        connection.sendall(request)
        return read_answer(connection, method)
