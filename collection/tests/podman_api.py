"""podman's API with one running and one stopped container, and with the images of a file.

Replaces `podman system service` in tests, so that podman-py itself is tested. The file that
PODMAN_STATE names contains `images` as podman lists them, `used` with the IDs of those that
containers use, and `archives` and `registry`, which map the content of an archive and the name of
an image to new images. The fake adds `requests` and `credentials`.
"""

import base64
import http.server
import json
import os
import signal
import socketserver
import struct
import sys
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qs, unquote_plus, urlsplit

STDERR = b"one\nit is the last location\n"
STOPPED = "can only create exec sessions on running containers"
MISSING = "no container with name or ID: no such container"
IN_USE = "image used by 1: image is in use by a container"
IMAGE = "localhost/atoll@sha256:" + "a" * 64


def read_state():
    return json.loads(Path(os.environ["PODMAN_STATE"]).read_text())


def write_state(state):
    Path(os.environ["PODMAN_STATE"]).write_text(json.dumps(state))


def names_of(image):
    return {image["Id"], *image["Names"], *image["RepoDigests"]}


class Api(http.server.BaseHTTPRequestHandler):
    """Instead of running a command, print its words, and fail if one of them is `fail`."""

    protocol_version = "HTTP/1.1"
    words: ClassVar = []

    def do_GET(self):
        url = urlsplit(self.path)
        self.query = {name: values[0] for name, values in parse_qs(url.query).items()}
        self.body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        kind, _slash, rest = url.path.split("/libpod/")[1].partition("/")
        if kind == "images":
            self.handle_images(rest)
        elif rest == "json":
            used = [{"Id": image, "ImageID": image} for image in read_state()["used"]]
            self.answer(200, used)
        else:
            self.handle_container(kind, *rest.split("/"))

    def do_POST(self):
        self.do_GET()

    def do_DELETE(self):
        self.do_GET()

    def handle_container(self, kind, name, what):
        if name == "missing":
            self.answer(404, {"cause": "no such container", "message": MISSING})
        elif kind == "containers" and what == "json":
            self.answer(200, {"Id": name, "Name": name, "ImageName": IMAGE})
        elif name == "stopped":
            self.answer(409, {"cause": "improper state", "message": STOPPED})
        elif what == "json":
            self.answer(200, {"ExitCode": 3 if "fail" in self.words else 0})
        elif what == "start":
            sides = [(1, json.dumps(self.words).encode()), (2, STDERR)]
            self.answer(
                200, b"".join(struct.pack(">BxxxL", side, len(text)) + text for side, text in sides)
            )
        else:
            Api.words = json.loads(self.body)["Cmd"]
            self.answer(201, {"Id": "1"})

    def handle_images(self, rest):
        state = read_state()
        state["requests"] = [*state.get("requests", []), f"{self.command} {unquote_plus(rest)}"]
        if self.command == "POST" and rest == "load":
            state["images"] += state["archives"][self.body.decode()]
            answer = 200, {"Names": []}
        elif self.command == "POST" and rest == "pull":
            login = self.headers.get("X-Registry-Auth")
            state["credentials"] = login and json.loads(base64.urlsafe_b64decode(login))
            state["images"] += state["registry"].get(self.query["reference"], [])
            known = self.query["reference"] in state["registry"]
            answer = 200, {"id": "1"} if known else {"error": "manifest unknown"}
        elif rest == "json":
            answer = 200, state["images"]
        else:
            answer = self.handle_image(state, unquote_plus(rest))
        write_state(state)
        self.answer(*answer)

    def handle_image(self, state, rest):
        name = rest
        for suffix in ("/json", "/exists", "/tag"):
            name = name.removesuffix(suffix)
        image = next((found for found in state["images"] if name in names_of(found)), None)
        if image is None:
            return 404, {"cause": "image not known", "message": f"{name}: image not known"}
        if self.command == "DELETE":
            return self.remove(state, image, name)
        if rest.endswith("/tag"):
            image["Names"].append(f"{self.query['repo']}:{self.query['tag']}")
            return 201, {}
        return (204, b"") if rest.endswith("/exists") else (200, image)

    def remove(self, state, image, name):
        assert self.query.get("force") is None
        if len(image["Names"]) > 1:
            # podman refuses to remove an image by its ID, or a digest, unless it is the last name.
            if name not in image["Names"] or "@" in name:
                return 500, {"cause": "", "message": "must force"}
            image["Names"].remove(name)
        elif image["Id"] in state["used"] or image["Id"] in state.get("secretly_used", []):
            return 409, {"cause": "in use", "message": IN_USE}
        else:
            state["images"].remove(image)
        return 200, {"Deleted": [], "Untagged": [], "Errors": [], "ExitCode": 0}

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
    if os.environ.get("HANGS"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "PODMAN_STARTS" in os.environ:
        with open(os.environ["PODMAN_STARTS"], "a") as file:
            file.write("started\n")
    Service(sys.argv[-1].removeprefix("unix://"), Api).serve_forever()
