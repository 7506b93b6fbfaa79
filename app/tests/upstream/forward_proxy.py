"""A forward proxy with a resolver of its own, as squid is at the edge of a closed network."""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

from .http_server import QuietServer


@dataclass
class ForwardProxy:
    """Forwards requests and tunnels.

    Attributes:
        names: The addresses of the host names that the proxy resolves; it refuses others.
        authorization: The required value of Proxy-Authorization; None to let all clients pass.
        tls: The settings for clients that connect by `https`.
        targets: The targets of the requests in their order.
    """

    names: Mapping[str, str]
    authorization: str | None = None
    tls: ssl.SSLContext | None = None
    targets: list[str] = field(default_factory=list)
    port: int = 0

    @contextmanager
    def running(self) -> Iterator[ForwardProxy]:
        server = QuietServer(type("Handler", (_Handler,), {"proxy": self}), self.tls, "127.0.0.1")
        self.port = server.port
        with server.running():
            yield self


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: ForwardProxy

    def do_CONNECT(self) -> None:
        host, _, port = self.path.rpartition(":")
        if (upstream := self._connected(host, int(port))) is None:
            return
        self.send_response(200)
        self.end_headers()
        with upstream:
            _copy(self.connection, upstream)
        self.close_connection = True

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if (upstream := self._connected(parts.hostname or "", parts.port or 80)) is None:
            return
        headers = "".join(
            f"{name}: {value}\r\n"
            for name, value in self.headers.items()
            if name.lower() not in {"proxy-authorization", "connection"}
        )
        head = f"{self.command} {parts.path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n"
        with upstream:
            upstream.sendall(head.encode())
            while received := upstream.recv(65536):
                self.wfile.write(received)
        self.close_connection = True

    def do_HEAD(self) -> None:
        self.do_GET()

    def _connected(self, host: str, port: int) -> socket.socket | None:
        self.proxy.targets.append(self.path)
        if self.headers["Proxy-Authorization"] != self.proxy.authorization:
            self._refuse(407)
        elif (address := self.proxy.names.get(host)) is None:
            self._refuse(403)
        else:
            return socket.create_connection((address, port))
        return None

    def _refuse(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Log nothing."""


def _copy(one: socket.socket, other: socket.socket) -> None:
    """Copy bytes in both directions until one side closes the connection."""
    while True:
        pending = [end for end in (one, other) if isinstance(end, ssl.SSLSocket) and end.pending()]
        ready = pending or select.select([one, other], [], [])[0]
        for source in ready:
            try:
                received = source.recv(65536)
            except ssl.SSLWantReadError:
                continue
            except OSError:
                return
            if not received:
                return
            (other if source is one else one).sendall(received)
