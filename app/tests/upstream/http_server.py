"""An HTTP/1.1 server in threads of the test, with or without TLS."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class QuietServer(ThreadingHTTPServer):
    """A server that counts connections, and ignores those that clients abandon.

    Attributes:
        connections: The number of accepted connections.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(
        self, handler: type[BaseHTTPRequestHandler], tls: ssl.SSLContext | None, host: str
    ) -> None:
        super().__init__((host, 0), handler)
        self.connections = 0
        self._tls = tls
        self._open: set[socket.socket] = set()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        self.connections += 1
        try:
            if self._tls is not None:
                # In the thread of the connection, so that no client delays others.
                request = self._tls.wrap_socket(request, server_side=True)
        except OSError:
            request.close()
            return
        self._open.add(request)
        super().process_request_thread(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        with suppress(OSError):
            super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore errors of connections, which tests cause on purpose."""

    def drop_connections(self) -> None:
        """Close all connections, as a server does that restarts."""
        for one in list(self._open):
            with suppress(OSError):
                socket.socket.shutdown(one, socket.SHUT_RDWR)

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        thread.start()
        try:
            yield
        finally:
            self.shutdown()
            self.drop_connections()
            self.server_close()
