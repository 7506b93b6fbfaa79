"""podman's API with one running and one stopped container.

Replaces `podman system service` in tests, so that podman-py itself is tested.
"""

import http.server
import json
import os
import socketserver
import struct
import sys
from typing import ClassVar

STDERR = b"one\nit is the last location\n"
STOPPED = "can only create exec sessions on running containers"
MISSING = "no container with name or ID: no such container"


class Api(http.server.BaseHTTPRequestHandler):
    """Instead of running a command, print its words, and fail if one of them is `fail`."""

    protocol_version = "HTTP/1.1"
    words: ClassVar = []

    def do_GET(self):
        kind, name, _what = self.path.split("/libpod/")[1].split("/")
        if kind == "exec":
            self.answer(200, {"ExitCode": 3 if "fail" in self.words else 0})
        elif name == "missing":
            self.answer(404, {"cause": "no such container", "message": MISSING})
        else:
            self.answer(200, {"Id": name, "Name": name})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if "/containers/stopped/" in self.path:
            self.answer(409, {"cause": "improper state", "message": STOPPED})
        elif self.path.endswith("/start"):
            sides = [(1, json.dumps(self.words).encode()), (2, STDERR)]
            self.answer(
                200, b"".join(struct.pack(">BxxxL", side, len(text)) + text for side, text in sides)
            )
        else:
            Api.words = json.loads(body)["Cmd"]
            self.answer(201, {"Id": "1"})

    def answer(self, status, content):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self):
        """Return a fixed name, because a client of a unix socket has no address."""
        return "client"

    def log_message(self, *_arguments):
        """Log nothing."""


class Service(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """A unix socket server that serves connections concurrently, as podman does."""

    daemon_threads = True


if __name__ == "__main__":
    if os.environ.get("BROKEN"):
        sys.exit("Error: it is broken")
    Service(sys.argv[-1].removeprefix("unix://"), Api).serve_forever()
