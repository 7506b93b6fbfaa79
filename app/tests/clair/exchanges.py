"""Sends the client's request of a recorded exchange to a server that plays its response."""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import UUID

from atoll.scanning.clair.client import ClairClient, Layer
from atoll.scanning.clair.http import ClairHttp
from atoll.scanning.clair.report import IndexReport, NotificationPage

from tests.clair.answers import Answer, Request, recorded
from tests.clair.recordings import Recording
from tests.clair.replay import ReplayServer
from tests.clair.state import State

KEY = base64.b64decode("YSBrZXkgb2YgMzIgYnl0ZXMgZm9yIHRoZSB0ZXN0cyE=")
DIGEST = f"sha256:{'0' * 64}"
_NO_ID = UUID(int=0)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")

Result = str | IndexReport | bytes | NotificationPage | None


class Recorded:
    """Answers all requests with one recorded response, or never if there was none."""

    def __init__(self, exchange: Recording, stopped: threading.Event) -> None:
        self._exchange = exchange
        self._stopped = stopped

    def answer(self, request: Request) -> Answer | None:
        del request
        if self._exchange.response is None:
            self._stopped.wait()
            return None
        return recorded(self._exchange.number)


@contextmanager
def playing(exchange: Recording, directory: Path) -> Iterator[ClairClient]:
    """Serve the response of an exchange, and yield a client of that server."""
    server = ReplayServer(State(directory))
    server.responder = Recorded(exchange, server.stopped)
    session = ClairHttp()
    with server.running():
        yield ClairClient("us", server.url, [KEY], session, index_seconds=0.3)
    session.close()


def send(client: ClairClient, exchange: Recording) -> Result:
    """Send the client's request that corresponds to the recorded one.

    Requests that the client does not send, such as the deletion of several reports, are replaced by
    the most similar one.
    """
    path = unquote(urlsplit(exchange.target).path)
    found = _DIGEST.search(path)
    digest = found[0] if found else DIGEST
    if path.startswith("/notifier/"):
        return _send_notification(client, exchange)
    if path.startswith("/matcher/"):
        return client.vulnerability_report(digest)
    if not path.startswith("/indexer/api/v1/index_report"):
        return client.index_state()
    if exchange.method == "DELETE":
        client.delete(digest)
        return None
    if exchange.method == "GET":
        return client.index_report(digest)
    body = exchange.request_body if isinstance(exchange.request_body, dict) else {}
    layers = [
        Layer(one["hash"], one.get("uri", ""), one.get("headers") or {})
        for one in body.get("layers") or []
    ]
    return client.index(body.get("hash", DIGEST), layers)


def _send_notification(client: ClairClient, exchange: Recording) -> Result:
    parts = urlsplit(exchange.target)
    try:
        identifier = UUID(parts.path.rpartition("/")[2])
    except ValueError:
        identifier = _NO_ID
    if exchange.method == "DELETE":
        client.delete_notification(identifier)
        return None
    query = parse_qs(parts.query)
    size = query.get("page_size", ["500"])[0]
    return client.notification_page(
        identifier, int(size) if size.isdecimal() else 1, query.get("next", [None])[0]
    )
