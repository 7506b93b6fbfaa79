"""Swift and Azure drivers verify responses as the S3 driver does."""

from __future__ import annotations

import base64
import hashlib
import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from atoll.config.stores import AzureSettings, SwiftSettings
from atoll.storage.azure import AzureObjectStore
from atoll.storage.base import ObjectStore
from atoll.storage.errors import InvalidStoreResponse, StoreUnavailable, WriteNotProven
from atoll.storage.swift import SwiftObjectStore

DATA = b"0123456789" * 4
OTHER = hashlib.md5(b"other").hexdigest()


class Server(ThreadingHTTPServer):
    """A Swift and Azure server with DATA as content of every key."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status = 201
        self.etag: str | None = None
        self.md5: str | None = None
        self.ranges = True

    def handle_error(self, request: object, client_address: object) -> None:
        del request, client_address


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {}
        if self.server.etag is not None:
            headers["ETag"] = self.server.etag
        if self.server.md5 is not None:
            headers["Content-MD5"] = base64.b64encode(bytes.fromhex(self.server.md5)).decode()
        self._answer(self.server.status, b"", headers)

    def do_GET(self) -> None:
        login = {"X-Auth-Token": "token", "X-Storage-Url": f"http://{self.headers['Host']}/v1/A"}
        if "auth" in self.path:
            return self._answer(200, b"", login)
        asked = self.headers.get("Range") or self.headers.get("x-ms-range")
        if asked is None or not self.server.ranges:
            return self._answer(200, DATA, {"x-ms-blob-type": "BlockBlob"})
        first, _, last = asked.removeprefix("bytes=").partition("-")
        start, end = int(first), min(int(last) + 1 if last else len(DATA), len(DATA))
        headers = {
            "Content-Range": f"bytes {start}-{end - 1}/{len(DATA)}",
            "x-ms-blob-type": "BlockBlob",
        }
        return self._answer(206, DATA[start:end], headers)

    def do_HEAD(self) -> None:
        self._answer(404, b"", {})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def swift(server: Server) -> SwiftObjectStore:
    settings = SwiftSettings.model_validate(
        {
            "swift_container": "registry",
            "auth_url": f"http://127.0.0.1:{server.server_port}/auth/v1.0",
            "swift_user": "user",
            "swift_password": "password",
            "auth_version": 1,
            "storage_path": "/registry",
        }
    )
    return SwiftObjectStore("us", settings)


@pytest.fixture
def azure(server: Server) -> AzureObjectStore:
    settings = AzureSettings.model_validate(
        {
            "azure_container": "registry",
            "azure_account_name": "account",
            "azure_account_key": base64.b64encode(b"key").decode(),
            "endpoint_url": f"http://127.0.0.1:{server.server_port}/account",
            "storage_path": "/registry",
        }
    )
    return AzureObjectStore("us", settings)


UPLOAD = "00000000-0000-0000-0000-000000000001"


def write(store: ObjectStore, *, part: bool) -> None:
    if part:
        store.put_part("key", UPLOAD, 1, b"data", 4)
    else:
        store.put("key", b"data", 4)


PARTS = pytest.mark.parametrize("part", [False, True], ids=["object", "part"])


@PARTS
@pytest.mark.parametrize("etag", [None, "", OTHER, "no-md5"])
def test_a_write_to_swift_requires_the_right_md5(
    server: Server, swift: SwiftObjectStore, etag: str | None, *, part: bool
) -> None:
    server.etag = etag
    with pytest.raises(WriteNotProven):
        write(swift, part=part)
    server.etag = hashlib.md5(b"data").hexdigest()
    write(swift, part=part)


def test_a_web_page_is_refused_as_a_swift_listing(server: Server, swift: SwiftObjectStore) -> None:
    server.ranges = False
    with pytest.raises(InvalidStoreResponse, match="no list"):
        list(swift.list_objects("sha256/"))


def test_a_swift_manifest_requires_an_etag(server: Server, swift: SwiftObjectStore) -> None:
    with pytest.raises(WriteNotProven):
        swift.finish_parts("key", UPLOAD, ["{}"], 4)
    server.etag = '"tag"'
    swift.finish_parts("key", UPLOAD, ["{}"], 4)


@PARTS
def test_a_write_to_azure_requires_the_headers_of_an_azure_response(
    server: Server, azure: AzureObjectStore, *, part: bool
) -> None:
    with pytest.raises(StoreUnavailable):
        write(azure, part=part)
    server.status = 200
    with pytest.raises(StoreUnavailable):
        write(azure, part=part)


def test_a_write_to_azure_with_another_md5_is_unproven(
    server: Server, azure: AzureObjectStore
) -> None:
    server.etag, server.md5 = '"tag"', OTHER
    with pytest.raises(WriteNotProven):
        azure.put("key", io.BytesIO(b"data"), 4)
    server.md5 = hashlib.md5(b"data").hexdigest()
    azure.put("key", b"data", 4)
    azure.put("key", io.BytesIO(b"data"), 4)


@pytest.mark.parametrize("kind", ["swift", "azure"])
@pytest.mark.parametrize(("start", "end"), [(10, 20), (0, 10), (10, None), (35, 100)])
def test_a_range_answered_with_200_is_refused(
    server: Server, request: pytest.FixtureRequest, kind: str, start: int, end: int | None
) -> None:
    store: ObjectStore = request.getfixturevalue(kind)
    assert b"".join(store.read("key", start, end)) == DATA[start:end]
    server.ranges = False
    with pytest.raises(InvalidStoreResponse):
        next(iter(store.read("key", start, end)))
