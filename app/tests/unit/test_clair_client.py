"""Requests to Clair: each recorded exchange has a stated result."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from atoll.scanning.clair import http as clair_http
from atoll.scanning.clair.client import ClairClient, Layer
from atoll.scanning.clair.errors import (
    ImageRejected,
    IndexFailed,
    InvalidScannerResponse,
    LayerInvalid,
    LayerUnreachable,
    ReportNotReady,
    ReportUnknown,
    RequestRejected,
    ScannerBusy,
    ScannerError,
    ScannerMisconfigured,
    ScannerRefused,
    ScannerTimedOut,
    ScannerUnavailable,
)
from atoll.scanning.clair.failures import index_failure
from atoll.scanning.clair.http import ClairHttp
from atoll.scanning.clair.report import (
    Announcement,
    IndexReport,
    NotificationPage,
    VulnerabilityReport,
    parse,
)
from atoll.scanning.clair.tokens import NotificationTokens

from tests.clair.answers import Answer, Request
from tests.clair.exchanges import DIGEST, KEY, Result, playing, send
from tests.clair.recordings import Recording, recording, recordings
from tests.clair.replay import ReplayServer
from tests.clair.state import State
from tests.clair.webhooks import notification_token

STATE = "cb31df8269833698891b35a63251a81a"
INDEXED = "indexed"
UNFINISHED = "unfinished"
NOTHING = "no content"
LAYER = Layer(DIGEST, "https://store.example/blob?X-Amz-Signature=secret", {"X": ["y"]})


@dataclass(frozen=True)
class Raised:
    error: type[ScannerError]
    status: int | None = None


@dataclass(frozen=True)
class Failed:
    """An index report with IndexError."""

    error: type[ScannerError]


@dataclass(frozen=True)
class Found:
    """The last four characters of the names of a report's vulnerabilities, and its packages."""

    vulnerabilities: str
    packages: int


@dataclass(frozen=True)
class Changes:
    """A page of a notification: the number of changes, their reasons, and whether more follow."""

    number: int
    reasons: str = ""
    has_next: bool = False


REFUSED = Raised(ScannerRefused)
REJECTED = Raised(RequestRejected)
NOT_READY = Raised(ReportNotReady)
UNKNOWN = Raised(ReportUnknown)
IMAGE_REJECTED = Raised(ImageRejected)
LAYER_INVALID = Raised(LayerInvalid)
NO_API = Raised(InvalidScannerResponse)
UNAVAILABLE = Raised(ScannerUnavailable)
MISCONFIGURED = Raised(ScannerMisconfigured)
SMALL = Found("1001 1003 1008", 4)
DEBIAN = Found("1003 1005 1007 1008 AAAA", 119)

EXPECTED: dict[str, object] = {
    "01-index-state": STATE,
    "02-report-202-before-first-update": NOT_READY,
    "03-index-small-201": INDEXED,
    "04-report-202-indexed-no-data": NOT_READY,
    "05-index-small-get-200": INDEXED,
    "06-report-small-200": SMALL,
    "07-index-small-again-201": INDEXED,
    # The client sends no If-None-Match, so it does not expect 304 or 412.
    "08-index-small-412": REJECTED,
    "09-index-state-304": NO_API,
    "10-index-report-304": NO_API,
    "11-index-report-unknown-304": NO_API,
    "12-index-unknown-412": REJECTED,
    "13-index-debian-201": INDEXED,
    "14-index-debian-get-200": INDEXED,
    "15-report-debian-200": DEBIAN,
    "16-report-debian-gzip": DEBIAN,
    "17-index-second-manifest-same-layers": INDEXED,
    "20-auth-none-401": REFUSED,
    "21-auth-wrong-key-401": REFUSED,
    "22-auth-wrong-issuer-401": REFUSED,
    "23-auth-expired-401": REFUSED,
    "24-auth-expired-within-leeway-200": STATE,
    "25-auth-not-yet-valid-401": REFUSED,
    "26-auth-hs512-200": STATE,
    "27-auth-no-exp-200": STATE,
    "28-auth-clairctl-issuer-200": STATE,
    "29-auth-intraservice-issuer-200": STATE,
    "30-auth-notifier-issuer-401": REFUSED,
    "31-auth-garbage-401": REFUSED,
    "32-auth-before-routing-401": REFUSED,
    "33-unknown-path-404": NO_API,
    "34-robots-200": NO_API,
    "35-index-report-unknown-404": NOTHING,
    "36-report-unknown-404": UNKNOWN,
    "37-index-report-bad-digest-400": REJECTED,
    "38-report-bad-digest-400": REJECTED,
    "39-index-bad-json-400": IMAGE_REJECTED,
    "40-index-no-layers-400": IMAGE_REJECTED,
    "41-index-no-hash-400": IMAGE_REJECTED,
    "42-index-bad-hash-400": IMAGE_REJECTED,
    "43-index-bad-layer-hash": IMAGE_REJECTED,
    "44-index-empty-uri": Raised(LayerUnreachable),
    "45-index-relative-uri": Raised(LayerUnreachable),
    "46-method-405": REJECTED,
    "47-accept-415": REJECTED,
    "50-layer-404": Raised(LayerUnreachable, 404),
    "51-get-after-layer-404": Failed(LayerUnreachable),
    "52-vuln-after-layer-404": UNKNOWN,
    "53-layer-401": Raised(LayerUnreachable, 401),
    "54-layer-403-expired-presigned": Raised(LayerUnreachable, 403),
    "55-layer-connection-refused": Raised(LayerUnreachable),
    "56-layer-not-a-tar-gzip": IMAGE_REJECTED,
    "57-layer-not-a-tar-plain": IMAGE_REJECTED,
    "58-layer-digest-mismatch": LAYER_INVALID,
    "59-layer-truncated-gzip": LAYER_INVALID,
    "60-layer-unknown-content-type": LAYER_INVALID,
    "61-layer-gzip-type-on-plain-tar": LAYER_INVALID,
    "62-plain-tar-201": INDEXED,
    "63-zstd-201": INDEXED,
    "64-data-only-201": INDEXED,
    "65-empty-tar-201": INDEXED,
    "66-status-without-info-201": INDEXED,
    "67-one-bad-of-two": Raised(LayerUnreachable, 404),
    "68-same-layer-twice-201": INDEXED,
    "69-retry-after-error-201": INDEXED,
    "70-data-only-report-200": Found("", 0),
    "80-second-clair-report-200": SMALL,
    "81-second-clair-state": STATE,
    "82-index-slow-201": INDEXED,
    "83-get-while-indexing": UNFINISHED,
    "84-report-while-indexing-404": UNKNOWN,
    "85-second-post-other-clair-meanwhile": INDEXED,
    "86-index-429": Raised(ScannerBusy),
    "87-get-during-429": STATE,
    "88-delete-during-429": Raised(ScannerBusy),
    "89-get-after-client-gave-up": UNFINISHED,
    "89b-get-after-client-gave-up-6s": UNFINISHED,
    "89c-post-again-after-client-gave-up": INDEXED,
    "89d-twelve-layers-slow": INDEXED,
    "90-index-500-rhel-mapping-unreachable": MISCONFIGURED,
    "91-index-report-get-after-500": Failed(ScannerMisconfigured),
    "92-index-500-airgap-true-no-mapping": MISCONFIGURED,
    "100-notification-page-all": Changes(7, "added"),
    "101-notification-page-size-2": Changes(2, "added", has_next=True),
    "102-notification-page-2": Changes(2, "added", has_next=True),
    "103-notification-page-3": Changes(2, "added", has_next=True),
    "104-notification-page-4": Changes(1, "added"),
    "108-notification-unknown": Changes(0),
    "109-notification-bad-id-400": REJECTED,
    "110-notification-bad-page-size-400": REJECTED,
    "111-notification-bad-next-400": REJECTED,
    "112-notification-other-clair": Changes(1, "added", has_next=True),
    "113-notification-no-auth-401": REFUSED,
    "114-notification-delete": NOTHING,
    "115-notification-get-after-delete": Changes(7, "added"),
    "116-notification-delete-again": NOTHING,
    # A notification that is gone need not be deleted.
    "117-notification-delete-unknown": NOTHING,
    "120-delete-one-204": NOTHING,
    "121-get-after-delete-404": NOTHING,
    "122-report-after-delete-404": UNKNOWN,
    "123-delete-again-204": NOTHING,
    "124-delete-unknown-204": NOTHING,
    # The client deletes single reports only, and accepts both statuses of success.
    "125-bulk-delete-200": NOTHING,
    "126-bulk-delete-empty-200": NOTHING,
    "127-bulk-delete-bad-400": REJECTED,
    "128-reindex-after-delete-201": INDEXED,
    "129-index-other-etag-201": INDEXED,
    "130-report-cacheable-no-etag": SMALL,
    "132-delete-during-use": NOTHING,
    # The introspection port is not that of the API.
    "133-introspection-healthz": NO_API,
    "134-introspection-readyz": NO_API,
    "140-airgap-index-201": INDEXED,
    "141-airgap-report-202": NOT_READY,
    "142-airgap-report-after-import-200": Found("1001 1003 2001 2002", 4),
    "155-notification-2-pages": Changes(7, "added"),
    "156-report-small-after-change": Found("1001 1003 2001 2002", 4),
    "157-notification-2-delete": NOTHING,
    "160-notification-3-reason-removed-but-new": Changes(7, "removed"),
    "161-report-small-proves-3001-is-new": Found("1001 1003 2001 3001", 4),
    "162-notification-import-clair-c": Changes(1, "added"),
    "163-notification-disable-summary": Changes(2, "added removed"),
    "170-db-down-index-state": STATE,
    # Clair denies having a report while its database is down.
    "171-db-down-get": NOTHING,
    "172-db-down-report": UNAVAILABLE,
    "173-db-down-post-hangs": Raised(ScannerTimedOut),
    "174-db-down-delete": UNAVAILABLE,
    "175-db-down-notification": UNAVAILABLE,
    "176-db-down-readyz": NO_API,
    "177-db-down-healthz": NO_API,
    "178-db-back-report-200": Found("1001 1003 2001 3001", 4),
    "179-db-back-get-200": INDEXED,
}

REQUESTS = [one for one in recordings() if not one.is_webhook]
WEBHOOKS = [one for one in recordings() if one.is_webhook]


def name(exchange: Recording) -> str:
    return exchange.name


def described(result: Result) -> object:
    """Return what `EXPECTED` states."""
    if result is None:
        return NOTHING
    if isinstance(result, IndexReport):
        assert result.indexer_state == STATE
        if result.is_failed:
            return Failed(type(result.failure()))
        return INDEXED if result.is_finished else UNFINISHED
    if isinstance(result, bytes):
        report = parse(VulnerabilityReport, result)
        found = sorted(one.name[-4:] for one in report.vulnerabilities.values())
        return Found(" ".join(found), len(report.packages))
    if isinstance(result, NotificationPage):
        reasons = sorted({one.reason for one in result.notifications})
        return Changes(
            len(result.notifications), " ".join(reasons), has_next=result.page.next is not None
        )
    return result


@pytest.mark.parametrize("exchange", REQUESTS, ids=name)
def test_recorded_response_has_the_stated_result(exchange: Recording, tmp_path: Path) -> None:
    outcome: object
    with playing(exchange, tmp_path) as client:
        try:
            outcome = described(send(client, exchange))
        except ScannerError as error:
            outcome = Raised(type(error), getattr(error, "status", None))
    assert outcome == EXPECTED[exchange.name]


def test_each_stated_result_is_that_of_a_recording() -> None:
    assert set(EXPECTED) == {one.name for one in REQUESTS}


@pytest.mark.parametrize("exchange", WEBHOOKS, ids=name)
def test_recorded_webhook_is_authentic_and_understood(exchange: Recording) -> None:
    recorded = re.search(r"claims ({.*?})", exchange.request_headers["Authorization"])
    assert recorded is not None
    now = 1_800_000_000
    claims: dict[str, Any] = {
        key: value if key == "iss" else now + value
        for key, value in json.loads(recorded[1]).items()
    }
    token = notification_token(KEY, now=now, **claims)
    NotificationTokens([KEY], lambda: now).verify(f"Bearer {token}")
    announced = parse(Announcement, json.dumps(exchange.request_body).encode())
    assert str(announced.notification_id) == exchange.request_body["notification_id"]


# Errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        'Get "https://store.example/b?X-Amz-Signature=secret": dial tcp 10.1.2.3:443: i/o timeout',
        'Get "https://store.example/a \\"b\\"?sig=secret": EOF',
        'unexpected status code: 403 Forbidden (body starts: "<Host>store.example?a=secret")',
        "lookup store.example on 10.1.2.3:53: no such host",
        "read tcp 10.1.2.3:41000->10.4.5.6:443: read: connection reset by peer",
        "dial tcp [2001:db8::1]:443: connect: no route to host",
        "tls: x509: certificate is valid for a.store.example, b.store.example, not store.example",
        "sent Authorization: Bearer secret to store.example:443?token=secret",
        "https://store.example/" + "a" * 20_000 + "?sig=secret",
    ],
)
def test_error_reveals_neither_addresses_nor_credentials(message: str) -> None:
    text = str(ScannerError(f"failed to fetch layers: {message}"))
    assert "secret" not in text
    assert "store.example" not in text
    assert "10.1.2.3" not in text
    assert "2001:db8" not in text
    assert "://" not in text


def test_error_keeps_the_cause() -> None:
    error = ScannerError('Get "https://store.example/b?a=b": dial tcp 10.1.2.3:443: i/o timeout')
    assert str(error) == "Get [address]: dial tcp [address]: i/o timeout"


def test_address_of_a_layer_is_not_part_of_its_representation() -> None:
    assert "secret" not in repr(LAYER)


def test_failure_of_the_database_while_layers_are_scanned_is_not_that_of_the_image() -> None:
    message = "failed to scan all layer contents: failed to connect to `user=clair`: timeout"
    assert type(index_failure(message)) is ScannerUnavailable


def test_failure_while_layers_are_scanned_is_that_of_the_image() -> None:
    message = 'failed to scan all layer contents: layer "sha256:12": rpm: malformed header'
    assert type(index_failure(message)) is IndexFailed


# Responses that were not recorded -------------------------------------------------------------


class Fixed:
    """Answers all requests with one response, and keeps the requests."""

    def __init__(self, answer: Answer) -> None:
        self.given = answer
        self.requests: list[Request] = []

    def answer(self, request: Request) -> Answer:
        self.requests.append(request)
        return self.given


@contextmanager
def serving(answer: Answer, directory: Path) -> Iterator[tuple[ClairClient, Fixed]]:
    server = ReplayServer(State(directory))
    server.responder = responder = Fixed(answer)
    with server.running():
        yield ClairClient("us", server.url, [KEY], ClairHttp()), responder


def test_redirects_are_not_followed(tmp_path: Path) -> None:
    answer = Answer(307, (("Location", "http://127.0.0.1:9/elsewhere"),))
    with (
        serving(answer, tmp_path) as (client, responder),
        pytest.raises(InvalidScannerResponse),
    ):
        client.index_state()
    assert len(responder.requests) == 1


def test_response_of_a_proxy_whose_server_is_down_is_unavailability(tmp_path: Path) -> None:
    answer = Answer(503, (("Content-Type", "text/html"),), b"<html>")
    with serving(answer, tmp_path) as (client, _), pytest.raises(ScannerUnavailable):
        client.index(DIGEST, [LAYER])


def test_response_that_ends_too_early_is_unavailability(tmp_path: Path) -> None:
    answer = Answer(200, (), b'{"state": ', is_complete=False)
    with serving(answer, tmp_path) as (client, _), pytest.raises(ScannerUnavailable):
        client.index_state()


def test_body_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clair_http, "BODY_MAXIMUM", 1000)
    answer = Answer(200, (), b'{"state": "%s"}' % (b"a" * 1001))
    with (
        serving(answer, tmp_path) as (client, _),
        pytest.raises(InvalidScannerResponse, match="1000 bytes"),
    ):
        client.index_state()


def test_missing_field_is_named(tmp_path: Path) -> None:
    body = b'{"page": {}, "notifications": []}'
    with (
        serving(Answer(200, (), body), tmp_path) as (client, _),
        pytest.raises(InvalidScannerResponse, match=r"page\.size"),
    ):
        client.notification_page(UUID(int=1))


def test_field_of_a_wrong_type_is_named_without_its_value(tmp_path: Path) -> None:
    with (
        serving(Answer(200, (), b'{"state": ["secret"]}'), tmp_path) as (client, _),
        pytest.raises(InvalidScannerResponse, match="state") as raised,
    ):
        client.index_state()
    assert "secret" not in str(raised.value)


def test_report_of_another_image_is_refused(tmp_path: Path) -> None:
    response = recording("06").response
    assert response is not None
    with (
        serving(Answer(200, (), response.body), tmp_path) as (client, _),
        pytest.raises(InvalidScannerResponse, match="manifest_hash"),
    ):
        client.vulnerability_report(DIGEST)


def test_null_is_an_empty_list(tmp_path: Path) -> None:
    body = b'{"page": {"size": 1}, "notifications": null, "new": 1}'
    with serving(Answer(200, (), body), tmp_path) as (client, _):
        assert client.notification_page(UUID(int=1)).notifications == []


def test_no_request_is_conditional(tmp_path: Path) -> None:
    answer = Answer(200, (), json.dumps({"state": STATE}).encode())
    with serving(answer, tmp_path) as (client, responder):
        client.index_state()
        client.index_state()
    assert [one.headers.get("if-none-match") for one in responder.requests] == [None, None]


# Keys -----------------------------------------------------------------------------------------

NEW_KEY = b"another key of 32 bytes, for use"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ReplayServer]:
    replay = ReplayServer(State(tmp_path))
    with replay.running():
        yield replay


def test_old_key_is_used_until_clair_refuses_it(server: ReplayServer) -> None:
    client = ClairClient("us", server.url, [KEY, NEW_KEY], ClairHttp())
    server.options.key = KEY
    client.index_state()
    assert len(server.requests) == 1
    server.options.key = NEW_KEY
    client.index_state()
    assert len(server.requests) == 3
    client.index_state()
    assert len(server.requests) == 4


def test_client_without_the_key_of_clair_is_refused(server: ReplayServer) -> None:
    server.options.key = b"a third key, which also has 32 bytes"
    with pytest.raises(ScannerRefused):
        ClairClient("us", server.url, [KEY, NEW_KEY], ClairHttp()).index_state()


def test_client_without_a_key_sends_no_token(server: ReplayServer) -> None:
    assert ClairClient("us", server.url, [], ClairHttp()).index_state() == STATE


# Connections ----------------------------------------------------------------------------------


def test_refused_connection_is_unavailability() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(ScannerUnavailable):
        ClairClient("us", f"http://127.0.0.1:{port}", [], ClairHttp()).index_state()


def test_host_that_does_not_respond_costs_less_than_two_seconds() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        # The queue of connections is full, so further ones are neither accepted nor refused.
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(address)
        started = time.monotonic()
        with pytest.raises(ScannerUnavailable):
            ClairClient("us", f"http://127.0.0.1:{address[1]}", [], ClairHttp()).index_state()
        assert time.monotonic() - started < 2
        for one in waiting:
            one.close()


def test_connection_is_usable_after_a_busy_response(server: ReplayServer) -> None:
    client = ClairClient("us", server.url, [], ClairHttp())
    server.state.change(busy=True)
    with pytest.raises(ScannerBusy):
        client.index(DIGEST, [LAYER])
    server.state.change(busy=False)
    assert client.index(DIGEST, [LAYER]).is_finished


def test_session_is_shared_by_threads(server: ReplayServer) -> None:
    client = ClairClient("us", server.url, [], ClairHttp())
    states: list[str] = []
    threads = [
        threading.Thread(target=lambda: states.append(client.index_state())) for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert states == [STATE] * 20
