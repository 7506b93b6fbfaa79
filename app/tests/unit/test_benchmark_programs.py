"""Programs of `make bench`: images, the client with several connections, and the delay."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from falcon import testing

from ..benchmark.bare_server import create_app, upstream_sockets
from ..benchmark.concurrent_push import Pusher, Work
from ..benchmark.content import MANIFEST_TYPE, Image, Shape
from ..benchmark.delay_proxy import DelayProxy

DELAY = 0.05


@pytest.fixture
def image(tmp_path: Path) -> Image:
    return Image(tmp_path, Shape("tiny", "tiny", (1, 2)))


def test_image_is_an_oci_layout_with_true_digests(image: Image) -> None:
    index = json.loads((image.directory / "index.json").read_text())
    [manifest] = index["manifests"]
    blobs = image.directory / "blobs/sha256"

    assert manifest["digest"] == image.manifest_digest
    content = json.loads((blobs / manifest["digest"].removeprefix("sha256:")).read_text())
    assert [layer["size"] for layer in content["layers"]] == [2**20, 2 * 2**20]
    for file in blobs.iterdir():
        assert hashlib.sha256(file.read_bytes()).hexdigest() == file.name


def test_renewed_image_has_no_blob_of_the_earlier_one(image: Image) -> None:
    before = {blob.digest for blob in image.blobs}

    image.renew()

    assert before & {blob.digest for blob in image.blobs} == set()
    files = {path.name for path in (image.directory / "blobs/sha256").iterdir()}
    digests = {*(blob.digest for blob in image.blobs), image.manifest_digest}
    assert files == {digest.removeprefix("sha256:") for digest in digests}


def test_layers_begin_like_gzip_so_that_clients_do_not_compress_them(image: Image) -> None:
    for blob in image.blobs[1:]:
        assert blob.path.read_bytes()[:3] == b"\x1f\x8b\x08"


class FakeRegistry(BaseHTTPRequestHandler):
    """Accepts uploads as the distribution specification describes."""

    protocol_version = "HTTP/1.1"
    received: ClassVar[dict[str, bytes]] = {}
    tokens: ClassVar[set[str | None]] = set()
    uploads: ClassVar[dict[str, bytes]] = {}

    def _answer(self, status: int, location: str | None = None) -> None:
        self.tokens.add(self.headers["Authorization"])
        self.send_response(status)
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def do_HEAD(self) -> None:
        self._answer(404)

    def do_POST(self) -> None:
        number = f"/upload/{len(self.uploads)}-{threading.get_ident()}"
        self.uploads[number] = b""
        self._answer(202, f"http://somewhere{number}?state=1")

    def do_PATCH(self) -> None:
        self.uploads[self.path.partition("?")[0]] = self._body()
        self._answer(202, self.path)

    def do_PUT(self) -> None:
        path, _, query = self.path.partition("?")
        body = self._body()
        if "/manifests/" in path:
            self.received[path] = body
        else:
            self.received[query.rpartition("digest=")[2]] = self.uploads[path]
        self._answer(201)

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def registry() -> Iterator[ThreadingHTTPServer]:
    for state in (FakeRegistry.received, FakeRegistry.uploads):
        state.clear()
    FakeRegistry.tokens.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), FakeRegistry) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_concurrent_push_sends_all_blobs_and_the_manifest(
    image: Image, registry: ThreadingHTTPServer
) -> None:
    work = Work(
        f"127.0.0.1:{registry.server_port}",
        "admin/app",
        "v1",
        "Bearer token",
        [(blob.digest, str(blob.path)) for blob in image.blobs],
        image.manifest.decode(),
        MANIFEST_TYPE,
    )

    Pusher(Work(**json.loads(work.as_json()))).push()

    assert FakeRegistry.received == {
        "/v2/admin/app/manifests/v1": image.manifest,
        **{blob.digest: blob.path.read_bytes() for blob in image.blobs},
    }
    assert FakeRegistry.tokens == {"Bearer token"}


def test_concurrent_push_ends_with_the_status_that_it_did_not_expect(
    image: Image, registry: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeRegistry, "do_POST", lambda self: self._answer(401))
    blobs = [(blob.digest, str(blob.path)) for blob in image.blobs]
    work = Work(f"127.0.0.1:{registry.server_port}", "a/b", "v1", "", blobs, "{}", MANIFEST_TYPE)

    with pytest.raises(SystemExit, match="401 instead of 202"):
        Pusher(work).push()


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


async def _round_trip(delay: float, data: bytes) -> tuple[bytes, float]:
    """Send bytes through the proxy, and return what came back and how long that took."""
    server = await asyncio.start_server(_echo, "127.0.0.1", 0)
    proxy = DelayProxy(server.sockets[0].getsockname()[1])
    listener = await proxy.listen(0)
    port = listener.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"0")
    assert await reader.readexactly(1) == b"0"
    proxy.delay = delay
    began = time.perf_counter()
    writer.write(data)
    writer.write_eof()
    returned = await reader.read(-1)
    seconds = time.perf_counter() - began
    for one in (server, listener):
        one.close()
    writer.close()
    return returned, seconds


def test_proxy_delays_both_directions_and_keeps_the_order_of_bytes() -> None:
    data = bytes(range(256)) * 4096

    returned, seconds = asyncio.run(_round_trip(DELAY, data))

    assert returned == data
    assert seconds >= 2 * DELAY


def test_proxy_without_delay_forwards_everything() -> None:
    returned, _ = asyncio.run(_round_trip(0, b"question"))

    assert returned == b"question"


def test_bare_application_serves_at_the_sockets_of_the_registry() -> None:
    configuration = """
        upstream registry {
            least_conn;
            server unix:/tmp/atoll/1-0.sock max_fails=0;
            server unix:/tmp/atoll/1-1.sock max_fails=0;
            keepalive 32;
        }
        upstream operations {
            server unix:/tmp/atoll/operations-1-0.sock;
        }
    """

    assert upstream_sockets(configuration) == {
        "registry": ["/tmp/atoll/1-0.sock", "/tmp/atoll/1-1.sock"],
        "operations": ["/tmp/atoll/operations-1-0.sock"],
    }


def test_bare_application_returns_the_recorded_response() -> None:
    description = {"status": 307, "headers": {"Location": "http://store/1"}, "body": "e30="}
    client = testing.TestClient(create_app({"blobs": description}))

    answer = client.simulate_get("/v2/admin/small/blobs/sha256:1")

    assert (answer.status_code, answer.headers["location"]) == (307, "http://store/1")
    assert answer.content == b"{}"
