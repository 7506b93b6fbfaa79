"""A TCP proxy that counts round trips and bytes of any protocol."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class CountingProxy:
    """Forwards bytes, and counts each time that a client sends first or after the server sent."""

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._turns = 0
        self._sent = 0
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def round_trips(self) -> int:
        """The round trips so far; each is a message, in any number of packets, and its answer."""
        with self._lock:
            return self._turns

    @property
    def sent_bytes(self) -> int:
        """The bytes that clients sent so far, including the framing of the protocol."""
        with self._lock:
            return self._sent

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                answered = threading.Event()
                answered.set()
                for source, target, asks in ((client, server, True), (server, client, False)):
                    threading.Thread(
                        target=self._forward, args=(source, target, answered, asks), daemon=True
                    ).start()

    def _forward(
        self, source: socket.socket, target: socket.socket, answered: threading.Event, asks: bool
    ) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if not asks:
                    answered.set()
                else:
                    with self._lock:
                        self._sent += len(data)
                        self._turns += answered.is_set()
                    answered.clear()
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def counting_proxy(port: int) -> Iterator[CountingProxy]:
    """Run a proxy for a port of 127.0.0.1."""
    proxy = CountingProxy(port)
    try:
        yield proxy
    finally:
        proxy.close()
