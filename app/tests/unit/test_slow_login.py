"""A slow login service does not make probes of the store fail."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from atoll.config.stores import SwiftSettings
from atoll.storage import swift
from atoll.storage.errors import StoreUnavailable

PATIENCE = 0.5
LOGIN = "/auth/v1.0"
CONTAINER = "/v1/AUTH_test/registry"


class Server(ThreadingHTTPServer):
    """A login service and a container; responses of the path `slow` exceed the probe timeout."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.slow = ""


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Server)
        if self.path == self.server.slow:
            time.sleep(3 * PATIENCE)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.send_header("X-Auth-Token", "token")
        self.send_header("X-Storage-Url", f"http://{self.headers['Host']}/v1/AUTH_test")
        self.end_headers()

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, *_words: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def store(server: Server, monkeypatch: pytest.MonkeyPatch) -> swift.SwiftObjectStore:
    monkeypatch.setattr(swift, "_PROBE_TIMEOUT", PATIENCE)
    settings = SwiftSettings.model_validate(
        {
            "swift_container": "registry",
            "auth_url": f"http://127.0.0.1:{server.server_port}{LOGIN}",
            "swift_user": "user",
            "swift_password": "password",
            "auth_version": 1,
            "storage_path": "/registry",
        }
    )
    return swift.SwiftObjectStore("us", settings)


def test_a_probe_succeeds_despite_a_slow_login(
    server: Server, store: swift.SwiftObjectStore
) -> None:
    server.slow = LOGIN
    store.probe(write=False)


def test_a_probe_of_a_slow_store_fails(server: Server, store: swift.SwiftObjectStore) -> None:
    server.slow = CONTAINER
    with pytest.raises(StoreUnavailable):
        store.probe(write=False)
