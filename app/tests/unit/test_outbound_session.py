"""Sessions keep connections open, and reach their destinations directly or through a proxy."""

from __future__ import annotations

import ipaddress
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

import pytest
from atoll.config.hosts import Address
from atoll.outbound.connection import Limits
from atoll.outbound.errors import (
    BodyTruncated,
    ConnectionFailed,
    DestinationRefused,
    InvalidResponse,
    NotResolved,
    OutboundError,
    RequestFailed,
    TimedOut,
    TlsFailed,
)
from atoll.outbound.policy import DestinationPolicy, Rules
from atoll.outbound.proxies import Proxies
from atoll.outbound.session import OutboundSession

from ..upstream.certificates import PrivateCa, private_ca
from ..upstream.forward_proxy import ForwardProxy
from ..upstream.http_server import QuietServer
from .raw_server import raw_server

HOST = "registry.example"


@dataclass
class Names:
    """A resolver that counts its look-ups."""

    addresses: dict[str, str]
    asked: list[str] = field(default_factory=list)

    def resolve(self, host: str, seconds: float) -> Sequence[Address]:
        del seconds
        self.asked.append(host)
        if host not in self.addresses:
            raise NotResolved(f"'{host}' has no address")
        return [ipaddress.ip_address(self.addresses[host])]


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> PrivateCa:
    return private_ca(tmp_path_factory.mktemp("ca"), [HOST, "proxy.example"])


class Pages(BaseHTTPRequestHandler):
    """Responds to each path with the path; `/to/URL` redirects."""

    protocol_version = "HTTP/1.1"
    requests: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        self.requests.append((self.path, self.headers["Authorization"]))
        _, _, location = self.path.partition("/to/")
        self.send_response(307 if location else 200)
        if location:
            self.send_header("Location", location)
        body = b"" if self.command == "HEAD" else self.path.encode()
        self.send_header("Content-Length", str(len(self.path)))
        self.end_headers()
        self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, *_arguments: object) -> None:
        """Log nothing."""


@contextmanager
def pages(
    tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> Iterator[tuple[QuietServer, list[tuple[str, str | None]]]]:
    requests: list[tuple[str, str | None]] = []
    server = QuietServer(type("Recorded", (Pages,), {"requests": requests}), tls, host)
    with server.running():
        yield server, requests


def session(
    ca: PrivateCa,
    names: Names | None = None,
    *,
    allowed: Sequence[str] = ("127.0.0.0/8",),
    **options: object,
) -> OutboundSession:
    return OutboundSession(
        DestinationPolicy(Rules.of(allowed)),
        ca.client_context(),
        names or Names({HOST: "127.0.0.1"}),
        **options,  # type: ignore[arg-type]
    )


def fetch(one: OutboundSession, url: str, *, method: str = "GET", **headers: str) -> bytes:
    with one.request(method, url, headers) as response:
        assert response.status == 200
        return response.read(10_000)


def test_sequential_requests_share_one_connection(ca: PrivateCa) -> None:
    names = Names({HOST: "127.0.0.1"})
    one = session(ca, names)
    with pages(ca.server_context()) as (server, requests):
        url = f"https://{HOST}:{server.port}"
        for number in range(20):
            assert fetch(one, f"{url}/{number}") == f"/{number}".encode()
            assert fetch(one, f"{url}/{number}", method="HEAD") == b""
        # Redirects on the same host, and bodies that are not read, do not cost a connection.
        with one.request("GET", f"{url}/to/{url}/end") as response:
            assert response.status == 200
        fetch(one, f"{url}/last")
    assert server.connections == 1
    assert len(requests) == 43
    assert names.asked == [HOST]


def test_parallel_requests_open_connections_and_keep_a_limited_number(ca: PrivateCa) -> None:
    one = session(ca, idle_connections=2)
    with pages() as (server, _requests):
        url = f"http://{HOST}:{server.port}/x"
        for _ in range(2):
            barrier = threading.Barrier(5)

            def request(barrier: threading.Barrier = barrier) -> None:
                with one.request("GET", url) as response:
                    barrier.wait()
                    response.read(100)

            threads = [threading.Thread(target=request) for _ in range(5)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        one.close()
        assert fetch(one, url) == b"/x"
    assert server.connections == 5 + 3 + 1


def test_a_connection_that_the_server_closed_is_replaced(ca: PrivateCa) -> None:
    one = session(ca)
    with pages(ca.server_context()) as (server, requests):
        url = f"https://{HOST}:{server.port}/x"
        for _ in range(3):
            assert fetch(one, url) == b"/x"
            server.drop_connections()
    assert server.connections == 3
    assert len(requests) == 3


def test_each_new_connection_checks_its_addresses(ca: PrivateCa) -> None:
    """A name that changes between look-ups does not lead to another address."""
    names = Names({HOST: "127.0.0.1"})
    one = session(ca, names, allowed=["127.0.0.1"])
    with pages() as (server, requests):
        url = f"http://{HOST}:{server.port}/x"
        assert fetch(one, url) == b"/x"
        names.addresses[HOST] = "127.0.0.2"
        assert fetch(one, url) == b"/x"
        server.drop_connections()
        with pytest.raises(DestinationRefused, match=r"SSRF_ALLOWED_HOSTS .*127\.0\.0\.2"):
            fetch(one, url)
    assert len(requests) == 2


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.2:{port}/",
        "http://[::ffff:7f00:2]:{port}/",
        "http://2130706434:{port}/",
        "http://metadata.example:{port}/",
        "http://169.254.169.254/latest/meta-data",
    ],
)
def test_each_redirect_is_checked(ca: PrivateCa, location: str) -> None:
    names = Names({HOST: "127.0.0.1", "metadata.example": "169.254.169.254"})
    one = session(ca, names, allowed=["127.0.0.1"])
    with pages(host="127.0.0.2") as (private, _requests), pages() as (server, _other):
        target = location.format(port=private.port)
        with pytest.raises(DestinationRefused):
            fetch(one, f"http://{HOST}:{server.port}/to/{target}")
    assert private.connections == 0


def test_credentials_do_not_follow_a_redirect_to_another_origin(ca: PrivateCa) -> None:
    one = session(ca, Names({HOST: "127.0.0.1", "cdn.example": "127.0.0.1"}))
    with pages() as (cdn, received), pages() as (server, requests):
        url = f"http://{HOST}:{server.port}"
        back = f"{url}/back"
        there = f"http://cdn.example:{cdn.port}/to/{back}"
        fetch(one, f"{url}/to/{url}/to/{there}", Authorization="Bearer secret")
    assert [credentials for _path, credentials in received] == [None]
    assert [credentials for _path, credentials in requests] == ["Bearer secret"] * 2 + [None]


def test_a_redirect_from_https_to_http_is_refused_unless_tls_is_not_verified(
    ca: PrivateCa,
) -> None:
    with pages() as (plain, requests), pages(ca.server_context()) as (server, _requests):
        url = f"https://{HOST}:{server.port}/to/http://{HOST}:{plain.port}/x"
        with pytest.raises(DestinationRefused, match="plain HTTP"):
            fetch(session(ca), url)
        assert requests == []
        assert fetch(session(ca, secure=False), url) == b"/x"


def test_failures_have_a_class_for_each_cause(ca: PrivateCa) -> None:
    limits = Limits(connect=0.5, idle=0.5, total=2)
    one = session(ca, limits=limits)

    def fails(kind: type[RequestFailed], url: str, using: OutboundSession = one) -> None:
        with pytest.raises(RequestFailed) as failed:
            fetch(using, url)
        assert type(failed.value) is kind

    fails(NotResolved, "http://unknown.example/")
    fails(ConnectionFailed, f"http://{HOST}:1/")
    with pages(ca.server_context()) as (server, _requests):
        untrusted = OutboundSession(
            DestinationPolicy(Rules.of(["127.0.0.1"])),
            ssl.create_default_context(),
            Names({HOST: "127.0.0.1"}),
        )
        fails(TlsFailed, f"https://{HOST}:{server.port}/", untrusted)
    with pages() as (server, _requests):
        fails(TlsFailed, f"https://{HOST}:{server.port}/")
    for answer, kind in (
        (b"", ConnectionFailed),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", InvalidResponse),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", BodyTruncated),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nshort", BodyTruncated),
    ):
        with raw_server(answer).running() as raw:
            fails(kind, f"http://{HOST}:{raw.port}/")
    with raw_server(lambda _connection, _head: time.sleep(2)).running() as raw:
        fails(TimedOut, f"http://{HOST}:{raw.port}/")


def test_a_streamed_body_is_limited_by_progress_and_can_be_aborted(ca: PrivateCa) -> None:
    stop = threading.Event()

    def send_slowly(connection: object, _head: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")  # type: ignore[attr-defined]
        while not stop.wait(0.1):
            connection.sendall(b"x")  # type: ignore[attr-defined]

    with raw_server(send_slowly).running() as raw:
        url = f"http://{HOST}:{raw.port}/"
        one = session(ca, limits=Limits(connect=1, idle=0.5, total=0.7))
        with one.request("GET", url) as response, pytest.raises(TimedOut):
            response.read(10_000_000)
        with one.request("GET", url, streaming=True) as response:
            started = time.monotonic()
            threading.Timer(1.5, response.abort).start()
            with pytest.raises(RequestFailed):
                response.read(10_000_000)
            assert time.monotonic() - started > 1
        stop.set()


# Proxies ------------------------------------------------------------------------------------


def proxies(port: int, *, scheme: str = "http", trusted: bool = False, **rest: str) -> Proxies:
    url = f"{scheme}://proxy.example:{port}"
    return Proxies.of(url, url, trusted=trusted, **rest)


@pytest.mark.parametrize("proxy_tls", [False, True], ids=["plain proxy", "proxy with TLS"])
@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_a_proxy_resolves_names(ca: PrivateCa, *, tls: bool, proxy_tls: bool) -> None:
    """The registry itself knows the address of the proxy only."""
    names = Names({"proxy.example": "127.0.0.1"})
    proxy = ForwardProxy({HOST: "127.0.0.1"}, tls=ca.server_context() if proxy_tls else None)
    with proxy.running(), pages(ca.server_context() if tls else None) as (server, requests):
        settings = proxies(proxy.port, scheme="https" if proxy_tls else "http")
        one = session(ca, names, proxies=settings)
        url = f"{'https' if tls else 'http'}://{HOST}:{server.port}/x"
        for _ in range(3):
            assert fetch(one, url, Authorization="Bearer secret") == b"/x"
        one.close()
    assert set(names.asked) == {"proxy.example"}
    assert len(requests) == 3
    assert proxy.targets == ([f"{HOST}:{server.port}"] if tls else [url] * 3)
    assert server.connections == (1 if tls else 3)


def test_a_proxy_gets_its_own_credentials_only(ca: PrivateCa) -> None:
    names = Names({"proxy.example": "127.0.0.1"})
    proxy = ForwardProxy({HOST: "127.0.0.1"}, "Basic bWU6cEBzcw==")
    with proxy.running(), pages() as (plain, requests), pages(ca.server_context()) as (safe, more):
        url = f"http://me:p%40ss@proxy.example:{proxy.port}"
        one = session(ca, names, proxies=Proxies.of(url, url))
        fetch(one, f"http://{HOST}:{plain.port}/x", Authorization="Bearer secret")
        fetch(one, f"https://{HOST}:{safe.port}/x", Authorization="Bearer secret")
        one.close()
        assert "p@ss" not in repr(Proxies.of(url))
        with pytest.raises(ConnectionFailed, match=r"proxy 'proxy\.example' .* status 407"):
            fetch(session(ca, names, proxies=proxies(proxy.port)), f"https://{HOST}:{safe.port}/x")
    assert requests + more == [("/x", "Bearer secret")] * 2


def test_a_proxy_is_bypassed_for_the_hosts_of_no_proxy(ca: PrivateCa) -> None:
    names = Names({"proxy.example": "127.0.0.1", HOST: "127.0.0.1"})
    with pages() as (server, _requests):
        one = session(ca, names, proxies=proxies(1, no_proxy=f"other.example,{HOST}"))
        assert fetch(one, f"http://{HOST}:{server.port}/x") == b"/x"
    assert names.asked == [HOST]


def test_a_proxy_that_a_user_chose_needs_a_permitted_address(ca: PrivateCa) -> None:
    names = Names({"proxy.example": "127.0.0.1"})
    proxy = ForwardProxy({HOST: "127.0.0.1"})
    with proxy.running(), pages() as (server, _requests):
        url = f"http://{HOST}:{server.port}/x"
        with pytest.raises(DestinationRefused, match=r"proxy\.example"):
            fetch(session(ca, names, allowed=[], proxies=proxies(proxy.port)), url)
        assert proxy.targets == []
        trusted = proxies(proxy.port, trusted=True)
        assert fetch(session(ca, names, allowed=[], proxies=trusted), url) == b"/x"


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "169.254.169.254", "[::1]", "localhost", "metadata.google.internal"]
)
def test_a_proxy_is_not_asked_for_internal_hosts(ca: PrivateCa, host: str) -> None:
    proxy = ForwardProxy({})
    with proxy.running():
        settings = proxies(proxy.port, trusted=True)
        one = session(
            ca, Names({"proxy.example": "127.0.0.1"}), allowed=["x.example"], proxies=settings
        )
        for scheme in ("http", "https"):
            with pytest.raises(OutboundError, match="SSRF_ALLOWED_HOSTS"):
                fetch(one, f"{scheme}://{host}:5000/v2/")
    assert proxy.targets == []
