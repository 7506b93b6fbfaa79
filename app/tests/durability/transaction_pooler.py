"""A proxy between clients and PostgreSQL that pools transactions, as PgBouncer can."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from psycopg2.extensions import parse_dsn

_PROTOCOL = 196608
_SSL, _GSS = 80877103, 80877104
_IDLE = b"I"


class TransactionPooler:
    """Assigns a server connection to a client until its transaction ends.

    Supports the simple query protocol without a password. The most recently released server
    connection is assigned first. With `pass_options`, all have the settings of the first client;
    otherwise they have none.
    """

    def __init__(self, uri: str, *, pass_options: bool) -> None:
        self._target = parse_dsn(uri)
        self._pass_options = pass_options
        self._options = ""
        self._free: list[socket.socket] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        user, database = self._target["user"], self._target["dbname"]
        self.uri = f"postgresql://{user}@127.0.0.1:{port}/{database}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Refuse clients, and close all idle server connections."""
        self._listener.close()
        for server in self._free:
            server.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError, EOFError), client:
            options = _receive_startup(client).get("options", "")
            if self._pass_options:
                self._options = self._options or options
            parameters = {"client_encoding": "UTF8", "standard_conforming_strings": "on"}
            answer = _message(b"R", struct.pack("!i", 0))
            for name, value in {**parameters, "server_version": "15.0"}.items():
                answer += _message(b"S", f"{name}\0{value}\0".encode())
            answer += _message(b"K", struct.pack("!ii", 0, 0)) + _message(b"Z", _IDLE)
            client.sendall(answer)
            server: socket.socket | None = None
            while True:
                kind, body = _receive(client)
                if kind == b"X":
                    return
                server = server or self._assign()
                server.sendall(_message(kind, body))
                if _forward_answer(server, client) == _IDLE:
                    with self._lock:
                        self._free.append(server)
                    server = None

    def _assign(self) -> socket.socket:
        with self._lock:
            if self._free:
                return self._free.pop()
        address = (self._target["host"], int(self._target["port"]))
        server = socket.create_connection(address)
        names = {"user": self._target["user"], "database": self._target["dbname"]}
        if self._options:
            names["options"] = self._options
        body = b"".join(f"{name}\0{value}\0".encode() for name, value in names.items()) + b"\0"
        server.sendall(struct.pack("!ii", len(body) + 8, _PROTOCOL) + body)
        while _receive(server)[0] != b"Z":
            continue
        return server


@contextmanager
def transaction_pooler(uri: str, *, pass_options: bool) -> Iterator[str]:
    """Run a pooler in front of `uri`, and yield the `uri` of the pooler."""
    pooler = TransactionPooler(uri, pass_options=pass_options)
    try:
        yield pooler.uri
    finally:
        pooler.close()


def _receive_startup(client: socket.socket) -> dict[str, str]:
    while True:
        size, code = struct.unpack("!ii", _exactly(client, 8))
        body = _exactly(client, size - 8)
        if code not in {_SSL, _GSS}:
            words = body.decode().split("\0")
            return dict(zip(words[0::2], words[1::2], strict=False))
        client.sendall(b"N")


def _forward_answer(server: socket.socket, client: socket.socket) -> bytes:
    """Forward messages until the server is ready; return the state of its transaction."""
    while True:
        kind, body = _receive(server)
        client.sendall(_message(kind, body))
        if kind == b"Z":
            return body


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


def _receive(peer: socket.socket) -> tuple[bytes, bytes]:
    kind = _exactly(peer, 1)
    (size,) = struct.unpack("!i", _exactly(peer, 4))
    return kind, _exactly(peer, size - 4)


def _exactly(peer: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        received = peer.recv(size - len(data))
        if not received:
            raise EOFError
        data += received
    return data
