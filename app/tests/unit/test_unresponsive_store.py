"""A request to an unresponsive store times out once and is not retried."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from atoll.config.stores import RadosGatewaySettings
from atoll.storage.errors import StoreUnavailable
from atoll.storage.s3 import clients
from atoll.storage.s3.driver import S3ObjectStore

# Called with a connection after the head of a request was received.
Answer = Callable[[socket.socket], None]


@contextmanager
def server(answer: Answer) -> Iterator[tuple[int, list[str]]]:
    """Run a server; yield its port and the list of request lines that it receives."""
    listener = socket.create_server(("127.0.0.1", 0))
    requests: list[str] = []
    # Python closes a connection without references.
    kept: list[socket.socket] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            kept.append(connection)
            requests.append(connection.recv(65536).split(b"\r\n")[0].decode())
            answer(connection)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1], requests
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for connection in kept:
            connection.close()


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], S3ObjectStore]:
    monkeypatch.setattr(clients, "READ_TIMEOUT", 0.5)

    def make(port: int) -> S3ObjectStore:
        settings = RadosGatewaySettings.model_validate(
            {
                "hostname": "127.0.0.1",
                "port": port,
                "is_secure": False,
                "access_key": "key",
                "secret_key": "secret",
                "bucket_name": "bucket",
                "storage_path": "/registry",
            }
        )
        return S3ObjectStore("us", settings)

    return make


OPERATIONS: dict[str, Callable[[S3ObjectStore], object]] = {
    "put file": lambda store: store.put("key", io.BytesIO(b"data"), 4),
    "put bytes": lambda store: store.put("key", b"data", 4),
    "read": lambda store: list(store.read("key")),
    "size": lambda store: store.size("key"),
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())
def test_a_request_to_an_unresponsive_store_is_not_retried(
    store: Callable[[int], S3ObjectStore], operation: Callable[[S3ObjectStore], object]
) -> None:
    with server(lambda _connection: None) as (port, requests):
        with pytest.raises(StoreUnavailable):
            operation(store(port))
        assert len(requests) == 1


def test_a_request_is_retried_if_the_store_closes_the_connection(
    store: Callable[[int], S3ObjectStore],
) -> None:
    """A store that was restarted has closed its persistent connections."""
    with server(lambda connection: connection.shutdown(socket.SHUT_RDWR)) as (port, requests):
        with pytest.raises(StoreUnavailable):
            store(port).size("key")
        assert len(requests) == 2
