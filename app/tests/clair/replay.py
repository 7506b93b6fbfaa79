"""A replay server: it plays Clair's protocol with recorded answers, and scans nothing.

    python -m clair.replay --port 6060 --key BASE64 --state DIR

Several servers with one state directory respond as Clairs with one database do. It needs the
standard library and PyJWT only, and this directory.
"""

from __future__ import annotations

import argparse
import base64
import json
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

# Relative, because the directory stands alone in a container image.
from .answers import Answer, Request, Responder
from .protocol import Clair
from .state import State
from .webhooks import DELIVERED, notification_token, post_webhook

_WITHOUT_BODY = frozenset({204, 304})
_INTROSPECTION = {"/healthz": b"ok", "/readyz": b"", "/metrics": b""}


@dataclass
class Options:
    """What a replay server does.

    Attributes:
        key: The key that is shared with the registry; None to accept any request.
        fetch_layers: Whether the layers of an image are fetched when it is indexed.
        concurrent: The number of images that are indexed at once.
        webhook: The URL of the registry's webhook; None to deliver no notifications.
        ca_bundle: A file of CA certificates for the webhook.
        delivery_seconds: Seconds between attempts to deliver notifications.
    """

    key: bytes | None = None
    fetch_layers: bool = False
    concurrent: int = 8
    webhook: str | None = None
    ca_bundle: str | None = None
    delivery_seconds: float = 1.0


class ReplayServer(ThreadingHTTPServer):
    """Responds to requests of the registry, and delivers notifications to it.

    Attributes:
        options: May be changed while it runs, such as the key.
        state: What it knows.
        requests: The requests that it received, as method and target.
        responder: Answers the requests; tests may replace it.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(
        self,
        state: State,
        options: Options | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        super().__init__((host, port), _Handler)
        self.options = options or Options()
        self.state = state
        self.requests: list[tuple[str, str]] = []
        self.stopped = threading.Event()
        self._connections: set[socket.socket] = set()
        self.responder: Responder = Clair(
            state,
            lambda: self.options.key,
            stopped=self.stopped,
            concurrent=self.options.concurrent,
            fetches=lambda: self.options.fetch_layers,
        )

    @property
    def url(self) -> str:
        """The URL of the server."""
        return f"http://{self.server_address[0]!s}:{self.server_address[1]}"

    def deliver(self) -> None:
        """Post each undelivered notification once; one that the registry refuses is kept."""
        if self.options.webhook is None:
            return
        for identifier in self.state.undelivered():
            token = None
            if self.options.key is not None:
                token = notification_token(self.options.key)
            callback = f"{self.url}/notifier/api/v1/notification/{identifier}"
            with suppress(OSError):
                status = post_webhook(
                    self.options.webhook,
                    identifier,
                    callback,
                    token,
                    ca_bundle=self.options.ca_bundle,
                )
                if status == DELIVERED:
                    self.state.mark_delivered(identifier)

    def deliver_until_stopped(self) -> None:
        """Deliver notifications while the server runs."""
        while not self.stopped.wait(self.options.delivery_seconds):
            self.deliver()

    @contextmanager
    def running(self) -> Iterator[ReplayServer]:
        """Respond to requests in the background."""
        thread = threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        thread.start()
        try:
            yield self
        finally:
            self.stopped.set()
            self.shutdown()
            self.server_close()
            # Idle connections would be answered as long as their threads live.
            for connection in tuple(self._connections):
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection until it is closed."""
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget the connection."""
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore errors of connections, which tests cause on purpose."""


class _Handler(BaseHTTPRequestHandler):
    server: ReplayServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _respond(self) -> None:
        body = self._body()
        self.server.requests.append((self.command, self.path))
        request = Request(
            self.command,
            self.path,
            {name.lower(): value for name, value in self.headers.items()},
            body,
            self.connection,
        )
        answer = self.server.responder.answer(request)
        if answer is None:
            self.close_connection = True
            return
        self._send(answer)

    do_GET = do_POST = do_PUT = do_DELETE = _respond  # noqa: N815

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        pieces = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        if answer.status in _WITHOUT_BODY:
            self.end_headers()
            return
        if not answer.is_chunked:
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)
            return
        self.send_header("Transfer-Encoding", "chunked")
        if not answer.is_complete:
            self.send_header("Connection", "close")
        self.end_headers()
        if answer.body:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(answer.body), answer.body))
        if answer.is_complete:
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Log nothing."""


class _Introspection(BaseHTTPRequestHandler):
    """The port for health checks, without authentication."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = _INTROSPECTION.get(self.path)
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Log nothing."""


@dataclass
class _Arguments:
    port: int = 6060
    host: str = "0.0.0.0"
    introspection_port: int | None = None
    key: str | None = None
    state: Path | None = None
    fetch_layers: bool = False
    webhook: str | None = None
    ca_bundle: str | None = None
    controls: list[str] = field(default_factory=list)


def main(words: list[str] | None = None) -> None:
    """Run a replay server until it is terminated."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--port", type=int, help="port of the API (default: 6060)")
    parser.add_argument("--host", help="address to listen at (default: all)")
    parser.add_argument("--introspection-port", type=int, help="port of /healthz and /readyz")
    parser.add_argument("--key", help="key that is shared with the registry, in Base64")
    parser.add_argument("--state", type=Path, help="directory of the state (default: a new one)")
    parser.add_argument("--fetch-layers", action="store_true", help="fetch the layers of images")
    parser.add_argument("--webhook", help="URL of the registry's webhook")
    parser.add_argument("--ca-bundle", help="file of CA certificates for the webhook")
    parser.add_argument(
        "--control",
        dest="controls",
        action="append",
        default=[],
        metavar="NAME=JSON",
        help="change a control of the state, such as delay=2",
    )
    arguments = parser.parse_args(words, namespace=_Arguments())
    with tempfile.TemporaryDirectory() as temporary:
        state = State(arguments.state or Path(temporary))
        if arguments.controls:
            pairs = (one.partition("=") for one in arguments.controls)
            state.change(**{name: json.loads(value) for name, _, value in pairs})
        options = Options(
            key=base64.b64decode(arguments.key, validate=True) if arguments.key else None,
            fetch_layers=arguments.fetch_layers,
            webhook=arguments.webhook,
            ca_bundle=arguments.ca_bundle,
        )
        server = ReplayServer(state, options, host=arguments.host, port=arguments.port)
        threading.Thread(target=server.deliver_until_stopped, daemon=True).start()
        if arguments.introspection_port is not None:
            address = (arguments.host, arguments.introspection_port)
            introspection = ThreadingHTTPServer(address, _Introspection)
            threading.Thread(target=introspection.serve_forever, daemon=True).start()
        with server.running(), suppress(KeyboardInterrupt):
            while True:
                time.sleep(3600)


if __name__ == "__main__":
    main()
