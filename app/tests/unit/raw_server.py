"""A TCP server that sends arbitrary bytes, including malformed responses."""

from __future__ import annotations

import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Answer = Callable[[socket.socket, bytes], None]


class RawServer:
    """Reads each request, then calls `answer` with the connection and the request.

    Attributes:
        requests: all requests, each with its body.
        connections: the number of accepted connections.
    """

    def __init__(self, answer: Answer, tls: ssl.SSLContext | None, host: str) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self._answer = answer
        self._tls = tls
        self._listener = socket.create_server((host, 0))
        self.port = int(self._listener.getsockname()[1])

    @contextmanager
    def running(self) -> Iterator[RawServer]:
        threading.Thread(target=self._accept, daemon=True).start()
        try:
            yield self
        finally:
            # Closing a listener does not wake a thread that waits in accept().
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _address = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError):
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            request = b""
            while not _is_complete(request) and (received := connection.recv(65536)):
                request += received
            if request:
                self.requests.append(request)
                self._answer(connection, request)
        connection.close()


def _is_complete(request: bytes) -> bool:
    head, end, body = request.partition(b"\r\n\r\n")
    length = re.search(rb"Content-Length: (\d+)", head)
    return bool(end) and len(body) >= int(length[1] if length else 0)


def raw_server(
    answer: Answer | bytes, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> RawServer:
    """Return a server that answers each request with `answer`, or by calling it."""
    if isinstance(answer, bytes):
        content = answer
        return RawServer(lambda connection, _head: connection.sendall(content), tls, host)
    return RawServer(answer, tls, host)


def ok(body: bytes = b"") -> bytes:
    """Return a complete response with status 200."""
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def redirect(location: str, status: int = 302) -> bytes:
    """Return a redirect."""
    return f"HTTP/1.1 {status} Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()
