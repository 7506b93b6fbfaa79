"""A small S3 server in memory whose faults a test switches on."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

PAGE = b"<html><body>We are back soon</body></html>"


class S3Server(ThreadingHTTPServer):
    """An S3 bucket in memory, below `/bucket/`.

    Attributes:
        page: the body of a 200 response to every request; None for regular responses.
        etag: returns the ETag of a write for its MD5 in hexadecimal; None for no ETag.
        drops: whether writes are acknowledged but not stored.
        ranges: whether Range headers are honoured.
        writable: whether writes and deletions are carried out; otherwise they are refused with 403.
        headers: additional headers of responses to writes.
        before: called with method and path before a request is carried out; if it returns false,
            the connection is closed instead.
        after: the same, after the request is carried out and before it is answered.
        requests: the number of requests by method.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, bytes] = {}
        self.tags: dict[str, str] = {}
        self.parts: dict[str, dict[int, bytes]] = {}
        self.page: bytes | None = None
        self.etag: Callable[[str], str | None] = lambda md5: f'"{md5}"'
        self.drops = False
        self.ranges = True
        self.writable = True
        self.headers: dict[str, str] = {}
        self.before: Callable[[str, str], bool] = lambda _method, _path: True
        self.after: Callable[[str, str], bool] = lambda _method, _path: True
        self.requests: Counter[str] = Counter()

    def handle_error(self, request: object, client_address: object) -> None:
        del request, client_address


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: S3Server

    def do_GET(self) -> None:
        self._carry_out()

    def do_HEAD(self) -> None:
        self._carry_out()

    def do_PUT(self) -> None:
        self._carry_out()

    def do_POST(self) -> None:
        self._carry_out()

    def do_DELETE(self) -> None:
        self._carry_out()

    def _carry_out(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        server = self.server
        server.requests[self.command] += 1
        if server.page is not None:
            return self._answer(200, server.page, {"Content-Type": "text/html"})
        path = urlsplit(self.path).path
        if not server.before(self.command, self.path):
            self.close_connection = True
            return None
        status, answer, headers = self._served(path, body)
        if not server.after(self.command, self.path):
            self.close_connection = True
            return None
        return self._answer(status, answer, headers)

    def _served(self, path: str, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        query = parse_qs(urlsplit(self.path).query, keep_blank_values=True)
        if self.command in {"PUT", "POST", "DELETE"} and not self.server.writable:
            return 403, _error("AccessDenied"), {}
        if self.command == "DELETE":
            self._delete(path, query)
            return 204, b"", {}
        if self.command == "PUT":
            return self._put(path, query, body)
        if self.command == "POST":
            return self._post(path, query)
        if "uploadId" in query:
            return self._list_parts(query)
        return self._read(path)

    def _delete(self, path: str, query: dict[str, list[str]]) -> None:
        if "uploadId" in query:
            self.server.parts.pop(query["uploadId"][0], None)
        else:
            self.server.objects.pop(path, None)

    def _put(
        self, path: str, query: dict[str, list[str]], body: bytes
    ) -> tuple[int, bytes, dict[str, str]]:
        if self.headers.get("If-None-Match") == "*" and path in self.server.objects:
            return 412, _error("PreconditionFailed"), {}
        md5 = hashlib.md5(body).hexdigest()
        if not self.server.drops:
            if "uploadId" in query:
                self.server.parts[query["uploadId"][0]][int(query["partNumber"][0])] = body
            else:
                self.server.objects[path] = body
                self.server.tags[path] = md5
        etag = self.server.etag(md5)
        return 200, b"", {**self.server.headers, **({"ETag": etag} if etag is not None else {})}

    def _post(self, path: str, query: dict[str, list[str]]) -> tuple[int, bytes, dict[str, str]]:
        if "uploads" in query:
            upload = f"upload-{len(self.server.parts)}-{self.server.requests['POST']}"
            self.server.parts[upload] = {}
            text = f"<UploadId>{upload}</UploadId>"
            return 200, _xml("InitiateMultipartUploadResult", text), {}
        parts = self.server.parts.pop(query["uploadId"][0], None)
        if parts is None:
            return 404, _error("NoSuchUpload"), {}
        md5s = b"".join(hashlib.md5(parts[number]).digest() for number in sorted(parts))
        tag = f"{hashlib.md5(md5s).hexdigest()}-{len(parts)}"
        self.server.objects[path] = b"".join(parts[number] for number in sorted(parts))
        self.server.tags[path] = tag
        return 200, _xml("CompleteMultipartUploadResult", f'<ETag>"{tag}"</ETag>'), {}

    def _list_parts(self, query: dict[str, list[str]]) -> tuple[int, bytes, dict[str, str]]:
        parts = self.server.parts.get(query["uploadId"][0])
        if parts is None:
            return 404, _error("NoSuchUpload"), {}
        text = "".join(
            f"<Part><PartNumber>{number}</PartNumber><Size>{len(part)}</Size>"
            f"<ETag>{escape(hashlib.md5(part).hexdigest())}</ETag></Part>"
            for number, part in sorted(parts.items())
        )
        return 200, _xml("ListPartsResult", f"<IsTruncated>false</IsTruncated>{text}"), {}

    def _list(self) -> bytes:
        prefix = parse_qs(urlsplit(self.path).query).get("prefix", [""])[0]
        text = "".join(
            f"<Contents><Key>{escape(path.removeprefix('/bucket/'))}</Key><Size>{len(data)}</Size>"
            "<LastModified>2026-01-01T00:00:00Z</LastModified></Contents>"
            for path, data in sorted(self.server.objects.items())
            if path.startswith(f"/bucket/{prefix}")
        )
        return _xml(
            "ListBucketResult", f"<Name>bucket</Name><IsTruncated>false</IsTruncated>{text}"
        )

    def _read(self, path: str) -> tuple[int, bytes, dict[str, str]]:
        if path.rstrip("/") == "/bucket":
            return 200, self._list(), {}
        data = self.server.objects.get(path)
        if data is None:
            return 404, _error("NoSuchKey"), {}
        headers = {"ETag": f'"{self.server.tags[path]}"'}
        asked = self.headers.get("Range")
        if asked is None or not self.server.ranges:
            return 200, data, headers
        first, _, last = asked.removeprefix("bytes=").partition("-")
        start, end = int(first), min(int(last) + 1 if last else len(data), len(data))
        if start >= len(data):
            return 416, _error("InvalidRange"), {}
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(data)}"
        return 206, data[start:end], headers

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_words: object) -> None:
        pass


def _xml(name: str, text: str) -> bytes:
    return f"<{name}>{text}</{name}>".encode()


def _error(code: str) -> bytes:
    return _xml("Error", f"<Code>{code}</Code><Message>no</Message>")


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Run a server without faults."""
    with S3Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


def gateway_of(server: S3Server, path: str = "/registry") -> dict[str, object]:
    """Return the arguments of RadosGWStorage for `server`."""
    return {
        "hostname": "127.0.0.1",
        "port": server.server_port,
        "is_secure": False,
        "access_key": "key",
        "secret_key": "secret",
        "bucket_name": "bucket",
        "storage_path": path,
    }
