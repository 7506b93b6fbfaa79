"""HTTP servers that record the requests which the registry sends to receivers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class SilentHandler(BaseHTTPRequestHandler):
    """A handler that does not log requests."""

    def log_message(self, *_arguments: object) -> None:
        """Print nothing."""


class RecordingServer:
    """An HTTP server on a free port of an address."""

    def __init__(self, address: str, handler: type[SilentHandler]) -> None:
        self._server = ThreadingHTTPServer((address, 0), handler)
        self.port = int(self._server.server_port)

    @contextmanager
    def running(self) -> Iterator[Self]:
        """Serve until the block ends."""
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()


class Receiver(RecordingServer):
    """Records paths and JSON documents, and answers with `status`."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.status = 200
        receiver = self

        class Handler(SilentHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append({"path": self.path, "document": json.loads(body)})
                self.send_response(receiver.status)
                self.send_header("Location", "http://127.0.0.1:1/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

        super().__init__("127.0.0.1", Handler)
        self.url = f"http://127.0.0.1:{self.port}/hook?token=secret"


class RedirectingReceiver(RecordingServer):
    """Answers requests with 200, and those to `/redirect` with a redirect to `location`.

    Attributes:
        location: the target of `/redirect`.
        got: host and path of each request.
    """

    def __init__(self, address: str) -> None:
        self.location = ""
        self.got: list[tuple[str, str]] = []
        receiver = self

        class Handler(SilentHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append((self.headers["Host"].partition(":")[0], self.path))
                redirected = self.path == "/redirect"
                self.send_response(307 if redirected else 200)
                if redirected:
                    self.send_header("Location", receiver.location)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_GET(self) -> None:
                receiver.got.append((self.headers["Host"].partition(":")[0], self.path))
                self.send_error(404)

        super().__init__(address, Handler)
