"""`python -m tests.benchmark.concurrent_push FILE`: push an image as podman and docker do.

Several layers are pushed at the same time, each with HEAD, POST, one PATCH and PUT. FILE describes
the work as JSON; the seconds that it took are printed. The kernel sends the files, so the client
takes less processor time than others.
"""

from __future__ import annotations

import http.client
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import local
from urllib.parse import urlsplit

# As many as podman and docker push at the same time.
_LAYERS_AT_ONCE = 5


@dataclass(frozen=True)
class Work:
    """What is pushed, and to where.

    Attributes:
        host: the host and port of the registry.
        repository: the repository.
        tag: the tag.
        authorization: the header of all requests, "" for none.
        blobs: the digest and the file of each blob, the configuration first.
        manifest: the text of the manifest.
        media_type: the media type of the manifest.
    """

    host: str
    repository: str
    tag: str
    authorization: str
    blobs: list[tuple[str, str]]
    manifest: str
    media_type: str

    def as_json(self) -> str:
        """Return the content of FILE."""
        return json.dumps(asdict(self))


class Pusher:
    """Pushes the blobs and the manifest of an image."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._local = local()

    def push(self) -> None:
        """Push everything; the configuration after the layers, and the manifest last."""
        config, *layers = self._work.blobs
        with ThreadPoolExecutor(_LAYERS_AT_ONCE) as pool:
            list(pool.map(self._push_blob, layers))
        self._push_blob(config)
        path = f"/v2/{self._work.repository}/manifests/{self._work.tag}"
        self._request("PUT", path, 201, self._work.manifest.encode(), self._work.media_type)

    def _push_blob(self, blob: tuple[str, str]) -> None:
        digest, file = blob
        base = f"/v2/{self._work.repository}/blobs"
        self._request("HEAD", f"{base}/{digest}", 404)
        location = self._request("POST", f"{base}/uploads/", 202)
        location = self._send_file(location, Path(file))
        separator = "&" if "?" in location else "?"
        self._request("PUT", f"{location}{separator}digest={digest}", 201)

    def _send_file(self, location: str, file: Path) -> str:
        connection = self._connection()
        connection.putrequest("PATCH", location)
        for name, value in self._headers("application/octet-stream").items():
            connection.putheader(name, value)
        connection.putheader("Content-Length", str(file.stat().st_size))
        connection.endheaders()
        with file.open("rb") as content:
            connection.sock.sendfile(content)
        return self._finish(connection, "PATCH", location, 202)

    def _request(
        self, method: str, path: str, wanted: int, body: bytes = b"", media_type: str = ""
    ) -> str:
        connection = self._connection()
        connection.request(method, path, body or None, self._headers(media_type))
        return self._finish(connection, method, path, wanted)

    def _finish(
        self, connection: http.client.HTTPConnection, method: str, path: str, wanted: int
    ) -> str:
        """Read a response, and return the path and query of its Location."""
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != wanted:
            raise SystemExit(f"{method} {path}: {answer.status} instead of {wanted}: {text!r}")
        parts = urlsplit(answer.headers.get("Location", ""))
        return f"{parts.path}?{parts.query}" if parts.query else parts.path

    def _headers(self, media_type: str) -> dict[str, str]:
        headers = {"Content-Type": media_type} if media_type else {}
        if self._work.authorization:
            headers["Authorization"] = self._work.authorization
        return headers

    def _connection(self) -> http.client.HTTPConnection:
        """Return the connection of this thread."""
        if not hasattr(self._local, "connection"):
            self._local.connection = http.client.HTTPConnection(self._work.host)
        connection: http.client.HTTPConnection = self._local.connection
        return connection


def main() -> None:
    """Read the work, push, and print the seconds."""
    work = Work(**json.loads(Path(sys.argv[1]).read_text()))
    began = time.perf_counter()
    Pusher(work).push()
    sys.stdout.write(f"{time.perf_counter() - began}\n")


if __name__ == "__main__":
    main()
