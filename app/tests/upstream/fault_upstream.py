"""A registry that misbehaves on command, and records its requests.

It speaks the pull side of `/v2`. `Oddities` select deviations of real registries; faults are
injected into single requests by `fail`.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import secrets
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, quote, urlsplit

from .content import UpstreamRepository, digest_of
from .http_server import QuietServer

_PATH = re.compile(
    r"/v2/(?P<name>.+)/(?P<kind>tags/list|manifests/|blobs/|referrers/)(?P<reference>[^/]*)"
)
_PIECE = 65_536


@dataclass
class Oddities:
    """Deviations from the specification, and what the registry supports.

    Attributes:
        authentication: `none`, `basic`, `bearer`, or `both` in one header.
        realm: The token service; None for that of this server by an absolute URL. It may be a path.
        token_key: The key of the token in the response of the token service.
        token_seconds: The lifetime of tokens; they are refused afterwards.
        announced_seconds: The lifetime that is announced; None to omit it.
        extra_scope: A further scope in challenges.
        no_digest_header: Omits Docker-Content-Digest.
        wrong_digest_header: Sends a wrong Docker-Content-Digest.
        no_head: Responds to HEAD of manifests with status 405.
        encoding: Compresses manifests and blobs, although no client asked for it.
        content_type: Replaces the Content-Type of manifests.
        null_tags: Sends `{"tags": null}`.
        page_size: The number of tags and referrers on a page.
        absolute_links: Whether links to the next page are absolute.
        endless_pages: Each page links to itself.
        next_on: Links to the next page on another server.
        no_referrers: The status of the referrers API; None if it is supported.
        ignore_ranges: Sends whole blobs for requests of ranges.
        wrong_ranges: Sends another range than requested.
        chunked: Sends blobs in chunks without a length.
        redirect_blobs: The base URL of a server that blobs are redirected to.
        rate_limit: The value of RateLimit-Remaining before the first pull; None to omit it.
        bytes_per_second: The speed of blobs.
    """

    authentication: str = "none"
    realm: str | None = None
    token_key: str = "token"
    token_seconds: float = 300.0
    announced_seconds: int | None = 300
    extra_scope: str | None = None
    no_digest_header: bool = False
    wrong_digest_header: bool = False
    no_head: bool = False
    encoding: str | None = None
    content_type: str | None = None
    null_tags: bool = False
    page_size: int = 1000
    absolute_links: bool = False
    endless_pages: bool = False
    next_on: str | None = None
    no_referrers: int | None = None
    ignore_ranges: bool = False
    wrong_ranges: bool = False
    chunked: bool = False
    redirect_blobs: str | None = None
    rate_limit: int | None = None
    bytes_per_second: float | None = None


@dataclass(frozen=True)
class Request:
    """A request that was received.

    Attributes:
        at: The time on the monotonic clock.
        method: The method.
        kind: `ping`, `token`, `tags`, `manifest`, `blob`, `referrers`, `listing` or `other`.
        path: The path with its query.
        headers: The headers, with names in lower case.
    """

    at: float
    method: str
    kind: str
    path: str
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Answer:
    """The answer to a request for a list of repositories."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


Listing = Callable[["FaultUpstream", Request], Answer]


@dataclass
class Fault:
    """A fault of some requests.

    Attributes:
        kind: The kind of the requests, as in `Request`.
        action: What happens, a function of this module.
        path: A pattern of the path.
        after: The number of requests that succeed before.
        times: The number of requests that fail; None for all.
    """

    kind: str
    action: Callable[[_Handler, bytes], None]
    path: str = ""
    after: int = 0
    times: int | None = 1

    def applies(self, request: Request) -> bool:
        if request.kind != self.kind or not re.search(self.path, request.path):
            return False
        if self.after > 0:
            self.after -= 1
            return False
        if self.times is None:
            return True
        self.times -= 1
        return self.times >= 0


class FaultUpstream:
    """The registry.

    Attributes:
        repositories: The content by the names of repositories.
        users: The passwords by user names.
        oddities: The deviations.
        requests: The requests in their order.
        listing: Answers requests for lists of repositories; None for status 404.
        sent: The number of bytes of blobs that were sent.
    """

    def __init__(
        self,
        tls: ssl.SSLContext | None = None,
        oddities: Oddities | None = None,
        *,
        host: str = "127.0.0.1",
        name: str | None = None,
    ) -> None:
        """Make a registry.

        Args:
            tls: The settings of TLS; None for plain HTTP.
            oddities: The deviations.
            host: The address to listen at.
            name: The host name in URLs that the registry sends.
        """
        self.repositories: dict[str, UpstreamRepository] = {}
        self.users: dict[str, str] = {}
        self.oddities = oddities or Oddities()
        self.requests: list[Request] = []
        self.listing: Listing | None = None
        self.sent = 0
        self.pulls = 0
        self._faults: list[Fault] = []
        self._tokens: dict[str, tuple[float, set[str]]] = {}
        self._lock = threading.Lock()
        self._scheme = "http" if tls is None else "https"
        self._server = QuietServer(type("Handler", (_Handler,), {"upstream": self}), tls, host)
        self.host = f"{name or host}:{self._server.port}"
        self.url = f"{self._scheme}://{self.host}"

    @contextmanager
    def running(self) -> Iterator[FaultUpstream]:
        with self._server.running():
            yield self

    @property
    def connections(self) -> int:
        return self._server.connections

    def repository(self, name: str = "team/app") -> UpstreamRepository:
        return self.repositories.setdefault(name, UpstreamRepository())

    def fail(
        self,
        kind: str,
        action: Callable[[_Handler, bytes], None],
        *,
        path: str = "",
        after: int = 0,
        times: int | None = 1,
    ) -> None:
        """Let requests of a kind fail; see `Fault`."""
        self._faults.append(Fault(kind, action, path, after, times))

    def recover(self) -> None:
        """Remove all faults."""
        self._faults.clear()

    def drop_connections(self) -> None:
        self._server.drop_connections()

    def revoke_tokens(self) -> None:
        """Refuse all tokens that were issued."""
        self._tokens.clear()

    def count(self, kind: str, method: str | None = None) -> int:
        """Return the number of requests of a kind."""
        return sum(one.kind == kind and method in {None, one.method} for one in list(self.requests))

    def issue_token(self, scopes: list[str]) -> str:
        token = secrets.token_urlsafe(20)
        self._tokens[token] = time.monotonic() + self.oddities.token_seconds, set(scopes)
        return token

    def permits(self, authorization: str, name: str | None) -> bool:
        """Return whether a value of Authorization permits to pull a repository."""
        scheme, _, value = authorization.partition(" ")
        if scheme == "Basic" and self.oddities.authentication != "bearer":
            return self.is_user(authorization)
        expires, scopes = self._tokens.get(value, (0.0, set[str]()))
        if scheme != "Bearer" or expires <= time.monotonic():
            return False
        return name is None or f"repository:{name}:pull" in scopes

    def is_user(self, authorization: str) -> bool:
        with suppress(ValueError):
            username, _, password = (
                base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
            )
            return username in self.users and self.users[username] == password
        return False

    def take_fault(self, request: Request) -> Fault | None:
        with self._lock:
            self.requests.append(request)
            return next((one for one in list(self._faults) if one.applies(request)), None)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    upstream: FaultUpstream

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        match = _PATH.fullmatch(path)
        kinds = {"tags/list": "tags", "manifests/": "manifest", "blobs/": "blob"}
        if match is not None:
            kind = kinds.get(match["kind"], "referrers")
        else:
            kind = {"/v2/": "ping", "/token": "token"}.get(path, "other")
            if path.startswith("/api/") or path == "/v2/_catalog":
                kind = "listing"
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(time.monotonic(), self.command, kind, self.path, headers)
        fault = self.upstream.take_fault(request)
        self._fault = fault.action if fault else None
        if kind == "token":
            self._token()
        elif kind == "listing" and self.upstream.listing is not None:
            self._listing(request)
        elif kind in {"listing", "other"}:
            self.respond(404, b"not found", {"Content-Type": "text/html"})
        elif not self._is_permitted(match["name"] if match else None):
            self._challenge(match["name"] if match else None)
        elif match is None:
            self.respond(200, b"{}")
        else:
            self._repository(kind, match["name"], match["reference"])

    def do_HEAD(self) -> None:
        self.do_GET()

    def _listing(self, request: Request) -> None:
        is_catalog = request.path.startswith("/v2/")
        if is_catalog and not self._is_permitted(None):
            self._challenge(None)
            return
        assert self.upstream.listing is not None
        answer = self.upstream.listing(self.upstream, request)
        self.respond(answer.status, answer.body, answer.headers)

    def _repository(self, kind: str, name: str, reference: str) -> None:
        repository = self.upstream.repositories.get(name)
        if repository is None:
            self._missing("NAME_UNKNOWN")
        elif kind == "tags":
            self._tags(repository)
        elif kind == "manifest":
            self._manifest(repository, reference)
        elif kind == "blob":
            self._blob(repository, reference)
        else:
            self._referrers(repository, reference)

    # Authentication -------------------------------------------------------------------------

    def _is_permitted(self, name: str | None) -> bool:
        if self.upstream.oddities.authentication == "none":
            return True
        return self.upstream.permits(self.headers.get("Authorization", ""), name)

    def _challenge(self, name: str | None) -> None:
        odd = self.upstream.oddities
        realm = odd.realm if odd.realm is not None else f"{self.upstream.url}/token"
        scopes = [] if name is None else [f"repository:{name}:pull"]
        if odd.extra_scope:
            scopes.append(odd.extra_scope)
        bearer = f'Bearer realm="{realm}",service="fault \\"upstream\\""'
        if scopes:
            bearer += f',scope="{" ".join(scopes)}"'
        basic = 'Basic realm="registry, with a comma"'
        value = {"basic": basic, "bearer": bearer}.get(odd.authentication, f"{basic}, {bearer}")
        self.respond(401, b'{"errors": []}', {"WWW-Authenticate": value})

    def _token(self) -> None:
        odd = self.upstream.oddities
        authorization = self.headers.get("Authorization")
        if self.upstream.users and not self.upstream.is_user(authorization or ""):
            self.respond(401, b"{}")
            return
        scopes = parse_qs(urlsplit(self.path).query).get("scope", [])
        document: dict[str, object] = {odd.token_key: self.upstream.issue_token(scopes)}
        if odd.announced_seconds is not None:
            document["expires_in"] = odd.announced_seconds
        self.respond(200, json.dumps(document).encode(), {"Content-Type": "application/json"})

    # Content --------------------------------------------------------------------------------

    def _tags(self, repository: UpstreamRepository) -> None:
        odd = self.upstream.oddities
        if odd.null_tags:
            self.respond(200, b'{"name": "x", "tags": null}')
            return
        query = parse_qs(urlsplit(self.path).query)
        size = min(odd.page_size, int(query.get("n", ["1000"])[0]))
        last = query.get("last", [""])[0]
        names = sorted(repository.tags)
        page = [name for name in names if name > last or not last][:size]
        headers = {"Content-Type": "application/json"}
        if odd.endless_pages or (page and page[-1] != names[-1]):
            following = "" if odd.endless_pages else f"&last={quote(page[-1])}"
            self._link(headers, f"{urlsplit(self.path).path}?n={size}{following}")
        self.respond(200, json.dumps({"name": "x", "tags": page}).encode(), headers)

    def _link(self, headers: dict[str, str], target: str) -> None:
        odd = self.upstream.oddities
        base = odd.next_on or (self.upstream.url if odd.absolute_links else "")
        headers["Link"] = f'<{base}{target}>; rel="next"'

    def _manifest(self, repository: UpstreamRepository, reference: str) -> None:
        odd = self.upstream.oddities
        if odd.no_head and self.command == "HEAD":
            self.respond(405, b"")
            return
        digest = repository.tags.get(reference, reference)
        if digest not in repository.manifests:
            self._missing("MANIFEST_UNKNOWN")
            return
        media_type, content = repository.manifests[digest]
        headers = {"Content-Type": odd.content_type or media_type}
        if odd.wrong_digest_header:
            digest = digest_of(b"")
        if not odd.no_digest_header:
            headers["Docker-Content-Digest"] = digest
        if self.command == "GET":
            self.upstream.pulls += 1
        if odd.rate_limit is not None:
            headers["RateLimit-Limit"] = f"{odd.rate_limit};w=21600"
            headers["RateLimit-Remaining"] = f"{odd.rate_limit - self.upstream.pulls};w=21600"
        self._encoded(200, content, headers)

    def _referrers(self, repository: UpstreamRepository, subject: str) -> None:
        odd = self.upstream.oddities
        if odd.no_referrers is not None:
            self.respond(odd.no_referrers, b"404 page not found", {"Content-Type": "text/plain"})
            return
        entries = repository.referrers(subject)
        start = int(parse_qs(urlsplit(self.path).query).get("start", ["0"])[0])
        document = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": entries[start : start + odd.page_size],
        }
        headers = {"Content-Type": document["mediaType"]}
        if start + odd.page_size < len(entries):
            target = f"{urlsplit(self.path).path}?start={start + odd.page_size}"
            self._link(headers, target)  # type: ignore[arg-type]
        self.respond(200, json.dumps(document).encode(), headers)  # type: ignore[arg-type]

    def _blob(self, repository: UpstreamRepository, digest: str) -> None:
        odd = self.upstream.oddities
        if digest not in repository.blobs:
            self._missing("BLOB_UNKNOWN")
            return
        if odd.redirect_blobs is not None:
            self.respond(307, b"", {"Location": f"{odd.redirect_blobs}{self.path}?signature=x"})
            return
        content, status = repository.blobs[digest], 200
        headers = {"Content-Type": "application/octet-stream"}
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if match and not odd.ignore_ranges:
            first, last = int(match[1]), int(match[2] or len(content) - 1)
            if first >= len(content):
                self.respond(416, b"")
                return
            if odd.wrong_ranges:
                first = 0
            part = content[first : last + 1]
            headers["Content-Range"] = f"bytes {first}-{first + len(part) - 1}/{len(content)}"
            content, status = part, 206
        self._encoded(status, content, headers)

    def _missing(self, code: str) -> None:
        self.respond(404, json.dumps({"errors": [{"code": code}]}).encode())

    def _encoded(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        if self.upstream.oddities.encoding == "gzip":
            headers["Content-Encoding"] = "gzip"
            content = gzip.compress(content)
        self.respond(status, content, headers)

    # Responses ------------------------------------------------------------------------------

    def respond(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Send a response, or the fault that was injected into the request."""
        fault, self._fault = self._fault, None
        self._head = status, dict(headers or {})
        if fault is not None:
            fault(self, body)
            return
        chunked = self.upstream.oddities.chunked and b"/blobs/" in self.path.encode()
        self.send_head(status, None if chunked else len(body))
        if self.command == "HEAD":
            return
        if chunked:
            for start in range(0, len(body), _PIECE):
                piece = body[start : start + _PIECE]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")
            self.upstream.sent += len(body)
        else:
            self.send_body(body)

    def send_head(self, status: int, length: int | None, **more: str) -> None:
        self.send_response(status)
        for name, value in {**self._head[1], **more}.items():
            self.send_header(name.replace("_", "-"), value)
        if length is None:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def send_body(self, body: bytes) -> None:
        speed = self.upstream.oddities.bytes_per_second
        for start in range(0, len(body), _PIECE):
            piece = body[start : start + _PIECE]
            self.wfile.write(piece)
            if "/blobs/" in self.path:
                self.upstream.sent += len(piece)
                if speed is not None:
                    time.sleep(len(piece) / speed)

    def log_message(self, *_arguments: object) -> None:
        """Log nothing."""


Action = Callable[[_Handler, bytes], None]


def status(code: int, **headers: str) -> Action:
    """Respond with a status; underscores in the names of headers stand for hyphens."""

    def act(handler: _Handler, _body: bytes) -> None:
        handler.send_head(code, 0, **headers)

    return act


def too_many_requests(retry_after: str | None = None) -> Action:
    """Respond with status 429."""
    return status(429, **({"Retry_After": retry_after} if retry_after is not None else {}))


def truncate(size: int) -> Action:
    """Announce the whole body and close the connection after some bytes."""

    def act(handler: _Handler, body: bytes) -> None:
        handler.send_head(handler._head[0], len(body))
        handler.send_body(body[:size])
        handler.close_connection = True

    return act


def shorten(size: int) -> Action:
    """Send some bytes only, as a complete response."""
    return replace(lambda body: body[:size])


def lengthen(size: int) -> Action:
    """Append bytes, and announce them."""
    return replace(lambda body: body + b"x" * size)


def corrupt() -> Action:
    """Send a body of the same size with another byte in the middle."""
    return replace(lambda body: body[: len(body) // 2] + b"\xff" + body[len(body) // 2 + 1 :])


def replace(change: Callable[[bytes], bytes]) -> Action:
    """Send another body."""

    def act(handler: _Handler, body: bytes) -> None:
        handler.respond(*_changed(handler, change(body)))

    return act


def _changed(handler: _Handler, body: bytes) -> tuple[int, bytes, dict[str, str]]:
    return handler._head[0], body, handler._head[1]


def held(until: Callable[[], object]) -> Action:
    """Respond after a function returned."""

    def act(handler: _Handler, body: bytes) -> None:
        until()
        handler.respond(*_changed(handler, body))

    return act


def stall(size: int, seconds: float = 3600.0) -> Action:
    """Stop sending after some bytes, and keep the connection open."""

    def act(handler: _Handler, body: bytes) -> None:
        handler.send_head(handler._head[0], len(body))
        handler.send_body(body[:size])
        handler.wfile.flush()
        _wait_for_client(handler, seconds)
        handler.close_connection = True

    return act


def drip(pause: float) -> Action:
    """Send single bytes with a pause after each."""

    def act(handler: _Handler, body: bytes) -> None:
        handler.send_head(handler._head[0], len(body))
        for position in range(len(body)):
            handler.send_body(body[position : position + 1])
            time.sleep(pause)

    return act


def endless() -> Action:
    """Send chunks without end."""

    def act(handler: _Handler, body: bytes) -> None:
        handler.send_head(handler._head[0], None)
        piece = (body or b"x") * (_PIECE // max(len(body), 1) + 1)
        while True:
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))

    return act


def hang_up() -> Action:
    """Close the connection without a response."""

    def act(handler: _Handler, _body: bytes) -> None:
        handler.close_connection = True

    return act


def silence(seconds: float = 3600.0) -> Action:
    """Send nothing, and keep the connection open."""

    def act(handler: _Handler, _body: bytes) -> None:
        _wait_for_client(handler, seconds)
        handler.close_connection = True

    return act


def redirect(location: str) -> Action:
    """Redirect to another URL."""
    return status(307, Location=location)


def _wait_for_client(handler: _Handler, seconds: float) -> None:
    """Wait until the client closes the connection."""
    handler.connection.settimeout(seconds)
    with suppress(OSError):
        handler.connection.recv(1)
