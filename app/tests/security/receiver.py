"""An HTTP server on an address of the test network, which records what reaches it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Receiver:
    """Answers requests with 200, and those to `/redirect` with a redirect to `location`.

    Attributes:
    location: the target of `/redirect`.
    got: host and path of each request.
    """

    def __init__(self, address: str) -> None:
        self.location = ""
        self.got: list[tuple[str, str]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
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

            def log_message(self, *_arguments: object) -> None:
                """Disable the log."""

        self._server = ThreadingHTTPServer((address, 0), Handler)
        self.port = int(self._server.server_port)

    @contextmanager
    def running(self) -> Iterator[Receiver]:
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()
