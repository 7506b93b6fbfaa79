"""A TCP proxy that limits the bandwidth to a store, for all connections together."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_PIECE = 32 * 1024


class SlowProxy:
    """Forwards at most `rate` bytes per second to a port of 127.0.0.1, and responses at once."""

    def __init__(self, port: int, rate: int) -> None:
        self._target = ("127.0.0.1", port)
        self._rate = rate
        # Connections take turns, so a small transfer waits for all others.
        self._turn = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                # With its default buffers the proxy would accept whole bodies at once.
                for end in (client, server):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _PIECE)
                for source, target, slow in ((client, server, True), (server, client, False)):
                    threading.Thread(
                        target=self._forward, args=(source, target, slow), daemon=True
                    ).start()

    def _forward(self, source: socket.socket, target: socket.socket, slow: bool) -> None:
        with suppress(OSError):
            while data := source.recv(_PIECE):
                if slow:
                    with self._turn:
                        time.sleep(len(data) / self._rate)
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def slow_proxy(port: int, rate: int) -> Iterator[SlowProxy]:
    """Run a proxy that forwards at most `rate` bytes per second to a port of 127.0.0.1."""
    proxy = SlowProxy(port, rate)
    try:
        yield proxy
    finally:
        proxy.close()
