"""The replay server plays Clair's protocol."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import UUID

import pytest
from atoll.scanning.clair.client import ClairClient, Layer
from atoll.scanning.clair.errors import (
    LayerInvalid,
    LayerUnreachable,
    ReportNotReady,
    ReportUnknown,
    ScannerBusy,
    ScannerMisconfigured,
    ScannerTimedOut,
    ScannerUnavailable,
)
from atoll.scanning.clair.http import ClairHttp
from atoll.scanning.clair.report import Announcement, IndexReport, VulnerabilityReport, parse
from atoll.scanning.clair.tokens import NotificationTokens

from tests.clair import images, replay
from tests.clair.replay import Options, ReplayServer
from tests.clair.state import State

KEY = b"a key of 32 bytes for the tests!"
SESSION = ClairHttp()
DIGEST = f"sha256:{'1' * 64}"
CONTENT = b"the content of a layer"
LAYER = Layer(f"sha256:{hashlib.sha256(CONTENT).hexdigest()}", "http://127.0.0.1:9/blob")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ReplayServer]:
    with ReplayServer(State(tmp_path), Options(key=KEY)).running() as running:
        yield running


@pytest.fixture
def client(server: ReplayServer) -> ClairClient:
    return ClairClient("us", server.url, [KEY], SESSION, index_seconds=5)


class Registry(ThreadingHTTPServer):
    """Serves layers and receives webhooks."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _RegistryHandler)
        self.status = 200
        self.authorizations: list[str | None] = []
        self.bodies: list[bytes] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _RegistryHandler(BaseHTTPRequestHandler):
    server: Registry

    def do_GET(self) -> None:
        self.server.authorizations.append(self.headers.get("Authorization"))
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(CONTENT)

    def do_POST(self) -> None:
        assert self.headers["Transfer-Encoding"] == "chunked"
        size = int(self.rfile.readline(), 16)
        self.server.bodies.append(self.rfile.read(size))
        self.server.authorizations.append(self.headers.get("Authorization"))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def registry() -> Iterator[Registry]:
    serving = Registry()
    threading.Thread(target=serving.serve_forever, args=(0.02,), daemon=True).start()
    yield serving
    serving.shutdown()
    serving.server_close()


# Reports --------------------------------------------------------------------------------------


def test_report_of_an_image_that_was_not_recorded_is_that_of_the_small_one(
    client: ClairClient,
) -> None:
    client.index(DIGEST, [LAYER])
    report = parse(VulnerabilityReport, client.vulnerability_report(DIGEST))
    assert {one.name for one in report.packages.values()} >= {"openssl", "zlib1g"}
    layers = {one.introduced_in for found in report.environments.values() for one in found}
    assert layers == {LAYER.digest}


def test_report_changes_with_the_advisories(server: ReplayServer, client: ClairClient) -> None:
    client.index(DIGEST, [LAYER])
    server.state.change(tracker=3)
    report = parse(VulnerabilityReport, client.vulnerability_report(DIGEST))
    assert "CVE-2099-3001" in {one.name for one in report.vulnerabilities.values()}


def test_report_is_not_ready_without_vulnerability_data(
    server: ReplayServer, client: ClairClient
) -> None:
    server.state.change(vulnerability_data=False)
    with pytest.raises(ReportNotReady):
        client.vulnerability_report(DIGEST)


def test_report_is_unknown_after_it_was_deleted(client: ClairClient) -> None:
    client.index(DIGEST, [LAYER])
    client.delete(DIGEST)
    with pytest.raises(ReportUnknown):
        client.vulnerability_report(DIGEST)


def test_state_of_the_indexer_can_change(server: ReplayServer, client: ClairClient) -> None:
    server.state.change(indexer_state="changed")
    assert client.index_state() == "changed"
    assert client.index(DIGEST, [LAYER]).indexer_state == "changed"


# Indexing -------------------------------------------------------------------------------------


def test_failures_are_those_of_the_recordings_and_occur_once(
    server: ReplayServer, client: ClairClient
) -> None:
    server.state.change(failures={DIGEST: ["53", "90"]})
    with pytest.raises(LayerUnreachable):
        client.index(DIGEST, [LAYER])
    report = client.index_report(DIGEST)
    assert report is not None
    assert report.is_failed
    with pytest.raises(ScannerMisconfigured):
        client.index(DIGEST, [LAYER])
    assert client.index(DIGEST, [LAYER]).is_finished


def test_image_is_unfinished_while_it_is_indexed(server: ReplayServer, client: ClairClient) -> None:
    server.state.change(delay=0.5)
    thread = threading.Thread(target=client.index, args=(DIGEST, [LAYER]))
    thread.start()
    reports: list[IndexReport] = []
    ends = time.monotonic() + 5
    while time.monotonic() < ends and not (reports and reports[-1].is_finished):
        report = client.index_report(DIGEST)
        reports += [report] if report is not None else []
        time.sleep(0.02)
    thread.join()
    assert {one.state for one in reports} == {"", "IndexFinished"}


def test_image_stays_unfinished_if_the_client_gave_up(server: ReplayServer) -> None:
    server.state.change(delay=0.3)
    impatient = ClairClient("us", server.url, [KEY], ClairHttp(), index_seconds=0.05)
    with pytest.raises(ScannerTimedOut):
        impatient.index(DIGEST, [LAYER])
    time.sleep(0.5)
    report = impatient.index_report(DIGEST)
    assert report is not None
    assert report.state == ""


def test_requests_beyond_the_limit_are_busy(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.change(delay=0.5)
    with ReplayServer(state, Options(concurrent=1)).running() as server:
        client = ClairClient("us", server.url, [], SESSION)
        thread = threading.Thread(target=client.index, args=(DIGEST, [LAYER]))
        thread.start()
        while client.index_report(DIGEST) is None:
            time.sleep(0.01)
        with pytest.raises(ScannerBusy):
            client.index(DIGEST, [LAYER])
        thread.join()


def test_outage_of_the_database_is_as_recorded(server: ReplayServer) -> None:
    client = ClairClient("us", server.url, [KEY], ClairHttp(), index_seconds=0.2)
    client.index(DIGEST, [LAYER])
    server.state.change(database=False)
    assert client.index_report(DIGEST) is None
    with pytest.raises(ScannerUnavailable):
        client.vulnerability_report(DIGEST)
    with pytest.raises(ScannerTimedOut):
        client.index(DIGEST, [LAYER])


# Layers ---------------------------------------------------------------------------------------


def test_layers_are_fetched_with_their_headers(
    server: ReplayServer, client: ClairClient, registry: Registry
) -> None:
    server.options.fetch_layers = True
    layer = Layer(LAYER.digest, registry.url, {"Authorization": ["Bearer pull"]})
    assert client.index(DIGEST, [layer]).is_finished
    assert registry.authorizations == ["Bearer pull"]


def test_status_of_a_layer_is_reported(
    server: ReplayServer, client: ClairClient, registry: Registry
) -> None:
    server.options.fetch_layers = True
    registry.status = 403
    with pytest.raises(LayerUnreachable) as raised:
        client.index(DIGEST, [Layer(LAYER.digest, f"{registry.url}/?sig=secret")])
    assert raised.value.status == 403


def test_layer_that_cannot_be_fetched_is_reported_without_its_address(
    server: ReplayServer, client: ClairClient
) -> None:
    server.options.fetch_layers = True
    with pytest.raises(LayerUnreachable) as raised:
        client.index(DIGEST, [Layer(LAYER.digest, "http://127.0.0.1:9/blob?sig=secret")])
    assert "secret" not in str(raised.value)
    assert "127.0.0.1" not in str(raised.value)


def test_layer_with_another_digest_is_reported(
    server: ReplayServer, client: ClairClient, registry: Registry
) -> None:
    server.options.fetch_layers = True
    with pytest.raises(LayerInvalid):
        client.index(DIGEST, [Layer(DIGEST, registry.url)])


# Notifications --------------------------------------------------------------------------------


def test_pages_of_a_notification_have_all_changes(
    server: ReplayServer, client: ClairClient
) -> None:
    changes = images.changes(DIGEST, "100")
    identifier = UUID(server.state.notify(changes))
    found, position = [], None
    while True:
        page = client.notification_page(identifier, 2, position)
        found += page.notifications
        position = page.page.next
        if position is None:
            break
    assert [one.id for one in found] == sorted(one["id"] for one in changes)


def test_deleted_notification_stays_readable(server: ReplayServer, client: ClairClient) -> None:
    identifier = UUID(server.state.notify(images.changes(DIGEST)))
    client.delete_notification(identifier)
    assert client.notification_page(identifier).notifications


def test_notification_is_posted_until_the_registry_responds_with_200(
    server: ReplayServer, registry: Registry
) -> None:
    server.options.webhook = f"{registry.url}/secscan/notification"
    identifier = server.state.notify(images.changes(DIGEST))
    for registry.status in (500, 202, 200, 200):
        server.deliver()
    assert len(registry.bodies) == 3
    announced = parse(Announcement, registry.bodies[-1])
    assert str(announced.notification_id) == identifier
    NotificationTokens([KEY]).verify(registry.authorizations[-1])


# Program --------------------------------------------------------------------------------------


def test_program_needs_its_directory_and_pyjwt_only(tmp_path: Path) -> None:
    shutil.copytree(Path(replay.__file__).parent, tmp_path / "clair")
    # `exchanges` is a helper of tests, and not part of the program.
    (tmp_path / "clair" / "exchanges.py").unlink()
    blocked = "import sys; sys.modules['atoll'] = sys.modules['tests'] = None; import runpy;"
    run = f"{blocked} runpy.run_module('clair.replay', run_name='__main__')"
    finished = subprocess.run(
        [sys.executable, "-c", run, "--help"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert "--state" in finished.stdout
