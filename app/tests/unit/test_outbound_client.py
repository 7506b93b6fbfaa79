"""Requests go to the address that was checked, and hostile peers cannot delay them for long."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from atoll.config.hosts import Address
from atoll.outbound.client import OutboundClient
from atoll.outbound.connection import Limits
from atoll.outbound.errors import DestinationRefused, InvalidDestination, RequestFailed
from atoll.outbound.policy import DestinationPolicy, Rules
from atoll.outbound.resolver import SystemResolver
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from .raw_server import Answer, ok, raw_server, redirect

HOST = "hooks.example"
# Short, so that tests of hostile peers end soon.
SHORT = Limits(connect=0.5, idle=0.5, total=0.7)


class Answers:
    """A resolver with a list of answers, the last of which is repeated."""

    def __init__(self, *answers: str) -> None:
        self._answers = answers
        self.asked: list[str] = []

    def resolve(self, host: str, seconds: float) -> Sequence[Address]:
        del seconds
        self.asked.append(host)
        answer = self._answers[min(len(self.asked), len(self._answers)) - 1]
        return [ipaddress.ip_address(text) for text in answer.split()]


def client(
    resolver: Answers | None = None,
    *,
    allowed: Sequence[str] = ("127.0.0.1",),
    tls: ssl.SSLContext | None = None,
    limits: Limits | None = None,
) -> OutboundClient:
    return OutboundClient(
        DestinationPolicy(Rules.of(allowed)),
        lambda: tls or ssl.create_default_context(),
        resolver or Answers("127.0.0.1"),
        limits,
    )


def post(one: OutboundClient, port: int, path: str = "/hook") -> int:
    return one.post(f"http://{HOST}:{port}{path}", b"{}", "application/json")


def test_a_post_arrives_with_its_host_and_body() -> None:
    with raw_server(ok()).running() as server:
        assert post(client(), server.port, "/h\u00fc?token=\u00e4") == 200
    (request,) = server.requests
    assert request.startswith(b"POST /h%C3%BC?token=%C3%A4 HTTP/1.1\r\n")
    assert f"Host: {HOST}:{server.port}\r\n".encode() in request
    assert request.endswith(b"\r\n\r\n{}")


def test_the_connection_goes_to_the_address_that_was_checked() -> None:
    """A name is not resolved a second time, which might return another address."""
    resolver = Answers("127.0.0.1", "127.0.0.2")
    with (
        raw_server(ok()).running() as judged,
        raw_server(ok(), host="127.0.0.2").running() as other,
    ):
        assert post(client(resolver), judged.port) == 200
        assert resolver.asked == [HOST]
        with pytest.raises(DestinationRefused):
            post(client(resolver), other.port)
    assert other.connections == 0


def test_a_resolved_private_address_is_not_contacted() -> None:
    with raw_server(ok()).running() as server:
        for answer in ("127.0.0.1", "::ffff:127.0.0.1", "93.184.215.14 127.0.0.1"):
            with pytest.raises(DestinationRefused):
                post(client(Answers(answer), allowed=()), server.port)
    assert server.connections == 0


def test_the_next_address_of_a_host_is_tried_if_one_refuses() -> None:
    with raw_server(ok()).running() as server:
        resolver = Answers("127.0.0.2 127.0.0.1")
        assert post(client(resolver, allowed=["127.0.0.0/8"]), server.port) == 200


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with raw_server(ok()).running() as server, raw_server(ok()).running() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert post(client(), server.port) == 200
    assert proxy.connections == 0


def test_a_post_does_not_follow_redirects() -> None:
    with raw_server(ok()).running() as elsewhere:
        location = f"http://127.0.0.1:{elsewhere.port}/"
        with raw_server(redirect(location, 307)).running() as server:
            assert post(client(), server.port) == 307
    assert elsewhere.connections == 0


def repeat_endlessly(*pieces: bytes, pause: float = 0.0) -> Answer:
    """Return an answer that repeats its last piece until the peer disconnects."""
    wait = threading.Event()

    def answer(connection: socket.socket, _head: bytes) -> None:
        for piece in pieces[:-1]:
            connection.sendall(piece)
        while not wait.wait(pause):
            connection.sendall(pieces[-1])

    return answer


_HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        repeat_endlessly(b"H", pause=3600),
        repeat_endlessly(_HEAD, b"X", pause=0.2),
        repeat_endlessly(_HEAD, b"X-A: b\r\n", pause=0.2),
        repeat_endlessly(b"HTTP/1.1 100 Continue\r\n\r\n", pause=0.2),
        repeat_endlessly(_HEAD, b"X-Long: ", b"x" * 65536),
        repeat_endlessly(_HEAD, b"X-A: b\r\n"),
        repeat_endlessly(b"HTTP/1.1 100 Continue\r\n\r\n"),
        b"",
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        _HEAD + b"X-A: b\r\n" * 1000 + b"\r\n",
        _HEAD + b"".join(b"X-%d: %s\r\n" % (n, b"x" * 5000) for n in range(50)) + b"\r\n",
    ],
    ids=[
        "silence",
        "a byte now and then",
        "a header now and then",
        "an interim response now and then",
        "a header without end",
        "headers without end",
        "interim responses without end",
        "nothing",
        "another protocol",
        "a wrong status",
        "too many headers",
        "large headers",
    ],
)
def test_a_hostile_response_is_aborted_within_the_limits(answer: Answer | bytes) -> None:
    with raw_server(answer).running() as server:
        with pytest.raises(RequestFailed, match=HOST):
            post(client(limits=SHORT), server.port)
        with (
            pytest.raises(RequestFailed, match=HOST),
            client(limits=SHORT).get(f"http://{HOST}:{server.port}/"),
        ):
            pass


@pytest.mark.parametrize(
    "answer",
    [
        repeat_endlessly(_HEAD, b"Content-Length: 10000\r\n\r\n", b"x", pause=0.2),
        repeat_endlessly(_HEAD, b"\r\n", b"x" * 65536),
        repeat_endlessly(_HEAD, b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        repeat_endlessly(_HEAD, b"Transfer-Encoding: chunked\r\n\r\n1;", b"x" * 65536),
        _HEAD + b"Content-Length: 1000\r\n\r\n" + b"x" * 999,
        _HEAD + b"Content-Length: 10001\r\n\r\n" + b"x" * 10001,
        _HEAD + b"Transfer-Encoding: chunked\r\n\r\nff\r\nx",
    ],
    ids=[
        "a byte now and then",
        "a body without end",
        "chunks without end",
        "a chunk extension without end",
        "a body that is cut off",
        "a body that is too large",
        "a chunk that is cut off",
    ],
)
def test_a_hostile_body_is_aborted_within_the_limits(answer: Answer | bytes) -> None:
    with (
        raw_server(answer).running() as server,
        client(limits=Limits(total=2)).get(f"http://{HOST}:{server.port}/") as response,
    ):
        assert response.status == 200
        with pytest.raises(RequestFailed, match=HOST):
            response.read(10_000)


def test_a_body_is_read_in_pieces() -> None:
    body = bytes(range(256)) * 1000
    with (
        raw_server(ok(body)).running() as server,
        client().get(f"http://{HOST}:{server.port}/", {"Range": "bytes=0-"}) as response,
    ):
        assert b"".join(response.pieces()) == body
    assert b"Range: bytes=0-\r\n" in server.requests[0]


def fetch(one: OutboundClient, url: str, headers: dict[str, str] | None = None) -> bytes:
    with one.get(url, headers) as response:
        return response.read(1000)


def test_a_get_follows_redirects_and_sends_credentials_to_one_origin_only() -> None:
    credentials = {"authorization": "Bearer secret", "Cookie": "secret", "X-Other": "kept"}
    with raw_server(ok(b"here")).running() as last:
        elsewhere = f"http://cdn.example:{last.port}/x"
        with raw_server(
            _by_path({b"/a": redirect("/b"), b"/b": redirect(elsewhere)})
        ).running() as s:
            assert fetch(client(), f"http://{HOST}:{s.port}/a", credentials) == b"here"
    assert [request.count(b"secret") for request in s.requests] == [2, 2]
    assert b"secret" not in last.requests[0]
    assert b"X-Other: kept" in last.requests[0]


def _by_path(answers: dict[bytes, bytes]) -> Answer:
    return lambda connection, head: connection.sendall(answers[head.split()[1]])


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.2:{port}/",
        "http://[::ffff:127.0.0.2]:{port}/",
        "http://2130706434:{port}/",
        "//127.0.0.2:{port}/",
        "http://169.254.169.254/latest/meta-data",
        "http://localhost:{port}/",
        "file:///etc/passwd",
        "http://user@127.0.0.1:{port}/",
        "http://[",
    ],
)
def test_each_redirect_is_checked(location: str) -> None:
    with raw_server(ok(), host="127.0.0.2").running() as private:
        answer = redirect(location.format(port=private.port))
        with raw_server(answer).running() as server, pytest.raises(DestinationRefused):
            fetch(client(Answers("127.0.0.1", "127.0.0.2")), f"http://{HOST}:{server.port}/")
    assert private.connections == 0


def test_redirect_loops_are_limited() -> None:
    with (
        raw_server(redirect("/again")).running() as server,
        pytest.raises(RequestFailed, match="too many redirects"),
    ):
        fetch(client(), f"http://{HOST}:{server.port}/")
    assert len(server.requests) == 6


def test_an_invalid_url_is_refused_without_resolution() -> None:
    resolver = Answers("127.0.0.1")
    one = client(resolver, allowed=())
    for url in ("http://10.1.2.3/", "ftp://x.example/"):
        with pytest.raises(InvalidDestination):
            one.check(url)
        with pytest.raises(InvalidDestination):
            one.post(url, b"", "text/plain")
    assert resolver.asked == []


def test_an_error_names_the_host_but_no_secret_of_the_url() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(RequestFailed) as failed:
        post(client(), port, "/services/secret?token=secret")
    assert HOST in str(failed.value)
    assert "secret" not in str(failed.value)


# TLS ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def make_certificate(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str], tuple[ssl.SSLContext, ssl.SSLContext]]:
    """Return a function that makes the TLS contexts of a server named NAME and of its client."""

    def make(name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .sign(key, hashes.SHA256())
        )
        path = Path(tmp_path_factory.mktemp("tls")) / "server.pem"
        pem = serialization.Encoding.PEM
        path.write_bytes(
            key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
            + certificate.public_bytes(pem)
        )
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(path)
        return server, ssl.create_default_context(cafile=str(path))

    return make


def test_tls_is_verified_against_the_host_of_the_url(
    make_certificate: Callable[[str], tuple[ssl.SSLContext, ssl.SSLContext]],
) -> None:
    server_tls, client_tls = make_certificate(HOST)
    named: list[str | None] = []
    server_tls.sni_callback = lambda _socket, name, _context: named.append(name)
    with raw_server(ok(), server_tls).running() as server:
        one = client(tls=client_tls)
        assert one.post(f"https://{HOST}:{server.port}/", b"{}", "application/json") == 200
        for url in (f"https://other.example:{server.port}/", f"https://127.0.0.1:{server.port}/"):
            with pytest.raises(RequestFailed, match=r"certificate|mismatch"):
                one.post(url, b"{}", "application/json")
        with pytest.raises(RequestFailed, match="certificate"):
            client().post(f"https://{HOST}:{server.port}/", b"{}", "application/json")
    assert named == [HOST, "other.example", None, HOST]
    assert len(server.requests) == 1


def test_a_tls_handshake_is_limited() -> None:
    """The peer accepts the connection and sends nothing, or a byte from time to time."""
    for answer in (
        repeat_endlessly(b"\x16", pause=3600),
        repeat_endlessly(b"\x16\x03\x01\x40\x00", b"x", pause=0.2),
    ):
        listener = raw_server(answer)
        with listener.running(), pytest.raises(RequestFailed, match=HOST):
            client(limits=SHORT).post(f"https://{HOST}:{listener.port}/", b"{}", "text/plain")


# Name resolution --------------------------------------------------------------------------


def test_a_look_up_is_limited_in_time_and_number() -> None:
    release = threading.Event()

    def hang(*_arguments: object, **_more: object) -> list[object]:
        release.wait()
        return []

    resolver = SystemResolver(hang, concurrent_lookups=2)
    for _ in range(2):
        with pytest.raises(RequestFailed, match="not resolved within"):
            resolver.resolve("x.example", 0.05)
    with pytest.raises(RequestFailed, match="too many pending lookups"):
        resolver.resolve("x.example", 0.05)
    release.set()


def test_a_failed_look_up_is_a_failed_request() -> None:
    for error in (socket.gaierror(-2, "unknown"), UnicodeError("odd")):

        def fail(*_arguments: object, failure: Exception = error, **_more: object) -> list[object]:
            raise failure

        with pytest.raises(RequestFailed, match="cannot be resolved"):
            SystemResolver(fail, concurrent_lookups=1).resolve("x.example", 5)


def test_an_address_is_not_looked_up() -> None:
    def fail(*_arguments: object, **_more: object) -> list[object]:
        raise AssertionError

    assert SystemResolver(fail).resolve("::1", 5) == [ipaddress.ip_address("::1")]


def test_the_system_resolver_returns_each_address_once() -> None:
    entries = [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1%2", 0, 0, 2)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 0)),
    ]
    found = SystemResolver(lambda *_arguments, **_more: entries).resolve("x.example", 5)
    assert [str(address) for address in found] == ["fe80::1", "10.0.0.1"]
