"""What podman's API answers, for one container that runs and one that does not.

Takes the place of `podman system service` in a test, so that podman-py itself is what asks.
"""

import http.server
import json
import os
import socketserver
import struct
import sys
from typing import ClassVar

SAID = b"one\nit is the last location\n"
STOPPED = "can only create exec sessions on running containers"
MISSING = "no container with name or ID: no such container"


class Api(http.server.BaseHTTPRequestHandler):
    """Runs nothing: prints the words of the command, and fails where one of them is `fail`."""

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
            sides = [(1, json.dumps(self.words).encode()), (2, SAID)]
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
        """Name who asks, which on a socket has no address."""
        return "somebody"

    def log_message(self, *_arguments):
        """Keep quiet."""


class Service(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Each connection is served beside the others, as podman does."""

    daemon_threads = True


if __name__ == "__main__":
    if os.environ.get("BROKEN"):
        sys.exit("Error: it is broken")
    Service(sys.argv[-1].removeprefix("unix://"), Api).serve_forever()
