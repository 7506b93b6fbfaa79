"""The client of the smoke test, against a registry that responds incorrectly."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from atoll.errors import UserError
from atoll.server.registry_client import Endpoint, Image, RegistryClient, RequestFailed

from ..tls_front import write_certificate

Answer = Callable[[str], tuple[int, bytes]]


class Registry(ThreadingHTTPServer):
    """Responds to every GET with the result of `answer`."""

    daemon_threads = True
    answer: Answer


class _Handler(BaseHTTPRequestHandler):
    server: Registry

    def do_GET(self) -> None:
        status, body = self.server.answer(self.path)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Log nothing."""


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    certificate, key = write_certificate(tmp_path, "registry.test")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = Registry(("127.0.0.1", 0), _Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def connect(registry: Registry, tmp_path: Path, hostname: str = "registry.test") -> RegistryClient:
    return RegistryClient(
        Endpoint("127.0.0.1", registry.server_address[1]),
        hostname,
        ssl.create_default_context(cafile=tmp_path / "front.crt"),
        credentials=("user", "secret-password"),
        repository="user/image",
    )


def test_login_is_repeated_while_the_registry_is_unavailable(
    registry: Registry, tmp_path: Path
) -> None:
    responses = iter([(503, b"no site is healthy"), (200, json.dumps({"token": "t"}).encode())])
    registry.answer = lambda _path: next(responses)

    connect(registry, tmp_path).log_in(timeout=60)

    assert next(responses, None) is None


def test_rejected_login_is_not_repeated_and_does_not_print_the_password(
    registry: Registry, tmp_path: Path
) -> None:
    responses = iter([(401, b"wrong credentials")])
    registry.answer = lambda _path: next(responses)

    with pytest.raises(RequestFailed, match="status 401: wrong credentials") as failed:
        connect(registry, tmp_path).log_in(timeout=60)
    assert "secret-password" not in str(failed.value)


def test_certificate_of_another_name_is_refused(registry: Registry, tmp_path: Path) -> None:
    registry.answer = lambda _path: (200, b"{}")

    with pytest.raises(RequestFailed, match="certificate verify failed"):
        connect(registry, tmp_path, "other.test").log_in(timeout=0)


def test_blob_with_other_bytes_fails_the_pull(registry: Registry, tmp_path: Path) -> None:
    image = Image.unique()
    registry.answer = lambda path: (200, image.manifest if "manifests" in path else b"corrupt")

    with pytest.raises(RequestFailed, match=r"pull of a blob through 127\.0\.0\.1:.* instead of"):
        connect(registry, tmp_path).pull(image, "latest")


def test_image_is_unique() -> None:
    assert Image.unique().layer != Image.unique().layer


@pytest.mark.parametrize(
    ("text", "address"), [("192.0.2.1:443", "192.0.2.1"), ("[2001:db8::1]:443", "2001:db8::1")]
)
def test_endpoint_is_an_address_with_a_port(text: str, address: str) -> None:
    assert Endpoint.parse(text) == Endpoint(address, 443)
    assert str(Endpoint.parse(text)) == text


@pytest.mark.parametrize("text", ["192.0.2.1", ":443", "192.0.2.1:https"])
def test_other_endpoints_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="must be ADDRESS:PORT"):
        Endpoint.parse(text)
