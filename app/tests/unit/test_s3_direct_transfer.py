"""Direct transfers sign what they send, and leave everything but success to botocore."""

from __future__ import annotations

import base64
import datetime
import hashlib
import io
import os
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import BinaryIO, cast

import pytest
from atoll.storage.base import Body
from atoll.storage.multipart import FileSlice
from atoll.storage.proof import Content
from atoll.storage.s3.direct_transfer import DirectTransfer
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials, ReadOnlyCredentials
from urllib3.exceptions import NewConnectionError, ProxyError

KEYS = Credentials("an access key", "a secret key")
TEMPORARY = Credentials("an access key", "another secret key", "a token of a role")
CONTENT = b"content" * 100_000


class Handler(BaseHTTPRequestHandler):
    """Keeps the connection open and answers every request with CONTENT and the same ETag."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self._answer(CONTENT)

    def do_PUT(self) -> None:
        self._answer(b"")

    def _answer(self, content: bytes) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.requests.append((self.command, self.path, dict(self.headers), body))
        self.send_response(self.server.status)
        self.send_header("ETag", '"an ETag"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_arguments: object) -> None:
        """Log nothing."""


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status = 200
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []

    def handle_error(self, *_arguments: object) -> None:
        """Ignore connections that a client closed."""

    def transfer(self, keys: Credentials | None = KEYS) -> DirectTransfer:
        def current() -> ReadOnlyCredentials | None:
            return keys.get_frozen_credentials() if keys else None

        return DirectTransfer(
            "us",
            f"http://127.0.0.1:{self.server_port}/bucket/",
            "eu-west-1",
            current,
            ca_bundle=None,
            timeout=(60, 60),
            connections=1,
        )


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()


def content_of(body: Body) -> Content:
    return Content(body, body.getbuffer().nbytes if isinstance(body, io.BytesIO) else len(body))


def expected_signature(
    server: Server, keys: Credentials, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, str]:
    """Return the signature of the last request, and the expected one of the received request."""
    method, path, headers, body = server.requests[-1]
    authorization = headers["Authorization"]
    names = authorization.partition("SignedHeaders=")[2].partition(",")[0].split(";")
    signed = {name: value for name, value in headers.items() if name.lower() in names}
    moment = datetime.datetime.strptime(headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ")
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: moment)
    request = AWSRequest(method, f"http://{headers['Host']}{path}", signed, body)
    unhashed = headers["X-Amz-Content-SHA256"] == "UNSIGNED-PAYLOAD"
    request.context["client_config"] = Config(s3={"payload_signing_enabled": not unhashed})
    S3SigV4Auth(keys, "s3", "eu-west-1").add_auth(request)
    return authorization, str(request.headers["Authorization"])


@pytest.mark.parametrize("keys", [KEYS, TEMPORARY])
@pytest.mark.parametrize("path", ["registry/sha256/ab/abcd", "a b/ü~(1)+'*", "per%cent"])
def test_received_requests_match_their_signature(
    server: Server, keys: Credentials, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    transfer = server.transfer(keys)
    pieces = transfer.get(path, 0, None)
    assert pieces is not None
    assert b"".join(pieces) == CONTENT
    sent, expected = expected_signature(server, keys, monkeypatch)
    assert sent == expected
    monkeypatch.undo()
    query = {"uploadId": "2~+/=", "partNumber": "7"}
    answer = transfer.put(path, query, content_of(memoryview(CONTENT)))
    assert answer is not None
    assert answer["etag"] == '"an ETag"'
    sent, expected = expected_signature(server, keys, monkeypatch)
    assert sent == expected


@pytest.mark.parametrize("body", [CONTENT, memoryview(CONTENT), io.BytesIO(CONTENT)])
def test_the_signature_of_a_write_contains_the_md5_of_its_body(
    server: Server, body: Body, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert server.transfer().put("key", {}, content_of(body))
    _method, _path, headers, received = server.requests[-1]
    assert received == CONTENT
    md5 = hashlib.md5(CONTENT, usedforsecurity=False).digest()
    assert headers["content-md5"] == base64.b64encode(md5).decode()
    assert "content-md5;" in headers["Authorization"]
    sent, expected = expected_signature(server, KEYS, monkeypatch)
    assert sent == expected


def test_a_body_is_hashed_for_the_signature_once_the_store_refused_one_without_hash(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    transfer = server.transfer()
    server.status = 403
    assert transfer.put("key", {}, content_of(CONTENT)) is None
    assert server.requests[-1][2]["X-Amz-Content-SHA256"] == "UNSIGNED-PAYLOAD"
    server.status = 200
    assert transfer.put("key", {}, content_of(io.BytesIO(CONTENT)))
    _method, _path, headers, received = server.requests[-1]
    assert received == CONTENT
    assert headers["X-Amz-Content-SHA256"] == hashlib.sha256(CONTENT).hexdigest()
    sent, expected = expected_signature(server, KEYS, monkeypatch)
    assert sent == expected


def test_a_file_that_is_too_short_is_not_sent(server: Server) -> None:
    with pytest.raises(EOFError, match="1 of 5 bytes"):
        server.transfer().put("key", {}, Content(io.BytesIO(b"data"), 5))
    assert server.requests == []


def test_no_request_is_sent_without_credentials(server: Server) -> None:
    assert server.transfer(None).get("key", 0, None) is None
    assert server.requests == []


@pytest.mark.parametrize("status", [404, 500, 503])
def test_an_error_is_left_to_botocore(server: Server, status: int) -> None:
    server.status = status
    transfer = server.transfer()
    for _ in range(2):
        assert transfer.get("key", 0, None) is None
    assert len(server.requests) == 2


@pytest.mark.parametrize(("status", "requests"), [(301, 1), (307, 1), (400, 2)])
def test_direct_transfers_stop_after_a_redirect_or_an_invalid_request(
    server: Server, status: int, requests: int
) -> None:
    server.status = status
    transfer = server.transfer()
    for _ in range(4):
        assert transfer.put("key", {}, content_of(b"body")) is None
    # An invalid request is repeated with a hash of its body.
    assert len(server.requests) == requests


def test_another_range_than_the_requested_one_is_left_to_botocore(server: Server) -> None:
    assert server.transfer().get("key", 1, 3) is None


def transfer_to(url: str) -> DirectTransfer:
    return DirectTransfer(
        "us",
        url,
        "eu-west-1",
        KEYS.get_frozen_credentials,
        ca_bundle=None,
        timeout=(60, 60),
        connections=1,
    )


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port: int = unused.getsockname()[1]
    return port


@pytest.mark.parametrize("host", ["127.0.0.1", "a-store.invalid"])
def test_a_failed_connection_is_not_repeated(host: str) -> None:
    transfer = transfer_to(f"http://{host}:{unused_port()}/bucket/")
    with pytest.raises(NewConnectionError):
        transfer.get("key", 0, None)


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("proxy", "authorization"),
    [
        ("http://127.0.0.1:{port}", None),
        ("127.0.0.1:{port}", None),
        ("//127.0.0.1:{port}", None),
        ("http://user:p%40ss@127.0.0.1:{port}", "Basic dXNlcjpwQHNz"),
    ],
)
def test_a_proxy_of_the_environment_is_used_as_botocore_does(
    server: Server, no_proxies: pytest.MonkeyPatch, proxy: str, authorization: str | None
) -> None:
    no_proxies.setenv("http_proxy", proxy.format(port=server.server_port))
    pieces = transfer_to("http://store.example:7480/bucket/").get("key", 0, None)
    assert pieces is not None
    assert b"".join(pieces) == CONTENT
    method, target, headers, _body = server.requests[-1]
    assert (method, target) == ("GET", "http://store.example:7480/bucket/key")
    assert headers.get("Proxy-Authorization") == authorization


def test_an_unavailable_proxy_is_an_error(no_proxies: pytest.MonkeyPatch) -> None:
    no_proxies.setenv("http_proxy", f"127.0.0.1:{unused_port()}")
    transfer = transfer_to("http://store.example:7480/bucket/")
    with pytest.raises(ProxyError):
        transfer.get("key", 0, None)


def test_connections_are_reused(server: Server) -> None:
    transfer = server.transfer()
    for _ in range(3):
        pieces = transfer.get("key", 0, None)
        assert pieces is not None
        assert b"".join(pieces) == CONTENT
    manager = transfer._pool
    pool = manager.connection_from_url(f"http://127.0.0.1:{server.server_port}/")
    assert pool.num_connections == 1


@pytest.fixture
def file(tmp_path: Path) -> Iterator[BinaryIO]:
    path = tmp_path / "file"
    path.write_bytes(b"before" + CONTENT + b"after")
    with path.open("rb") as opened:
        yield opened


def test_a_part_of_a_file_is_sent_as_it_is_each_time(server: Server, file: BinaryIO) -> None:
    progress: list[int] = []
    part = FileSlice(file, 6, len(CONTENT), lambda: progress.append(file.tell()))
    content = Content(cast(BinaryIO, part), len(CONTENT))
    transfer = server.transfer()
    for _ in range(2):
        assert transfer.put("key", {}, content)
    assert [body for *_, body in server.requests] == [CONTENT] * 2
    assert len(progress) > 2
    # Other parts are read at the same time.
    assert set(progress) == {0}


def test_a_file_that_became_shorter_is_no_complete_part(server: Server, file: BinaryIO) -> None:
    part = FileSlice(file, 6, len(CONTENT), md5="0" * 32)
    os.truncate(file.name, 5000)
    with pytest.raises(EOFError, match=f"of {len(CONTENT)} bytes are missing"):
        server.transfer().put("key", {}, Content(cast(BinaryIO, part), len(CONTENT)))


def test_a_store_that_accepts_no_more_bytes_ends_a_write_after_the_time_out(
    file: BinaryIO,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        os.truncate(file.name, 2**28)
        part = FileSlice(file, 0, 2**28, md5="0" * 32)
        transfer = DirectTransfer(
            "us",
            f"http://127.0.0.1:{listener.getsockname()[1]}/bucket/",
            "eu-west-1",
            KEYS.get_frozen_credentials,
            ca_bundle=None,
            timeout=(1, 60),
            connections=1,
        )
        assert transfer.put("key", {}, Content(cast(BinaryIO, part), 2**28)) is None


def test_a_part_of_a_file_is_read_if_a_proxy_may_use_tls(
    server: Server, file: BinaryIO, no_proxies: pytest.MonkeyPatch
) -> None:
    no_proxies.setenv("http_proxy", f"https://127.0.0.1:{server.server_port}")
    part = FileSlice(file, 6, len(CONTENT))
    body = server.transfer()._body(Content(cast(BinaryIO, part), len(CONTENT)))
    # Each piece is valid until the next one.
    pieces = [bytes(piece) for piece in cast(Iterator[bytes], body)]
    assert b"".join(pieces) == CONTENT
