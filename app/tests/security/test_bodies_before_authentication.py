"""A body is received only from a client with permission, and only up to the limit of its path."""

from __future__ import annotations

import contextlib
import os
import re
import socket
from pathlib import Path

import pytest

from ..image.protocol import Registry, sha256
from ..image.running import RunningImage
from ..integration.services import wait_until
from .raw import Answer, connect, exchange, head, read_answer

KIBIBYTE, MEBIBYTE = 2**10, 2**20
UPLOAD = "/v2/a/b/blobs/uploads/00000000-0000-4000-8000-000000000000"
SPOOL = "/var/spool/atoll"


def spooled(image: RunningImage) -> int:
    """Return the bytes in unlinked files of the spool and of nginx."""
    total = 0
    namespace = os.readlink(f"/proc/{image.process}/ns/pid")
    for process in filter(str.isdecimal, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/{process}/ns/pid") != namespace:
                continue
            for descriptor in Path(f"/proc/{process}/fd").iterdir():
                if re.match(rf"{SPOOL}|/tmp/atoll/nginx-body", str(descriptor.readlink())):
                    total += descriptor.stat().st_size
    return total


def begin(url: str, method: str, path: str, *headers: str, sent: int) -> socket.socket:
    """Send headers and the first `sent` bytes of a body, as far as the server accepts them."""
    connection = connect(url)
    connection.sendall(head(method, path, *headers))
    with contextlib.suppress(ConnectionError):
        for _ in range(sent // (64 * KIBIBYTE)):
            connection.sendall(bytes(64 * KIBIBYTE))
    return connection


def chunked(size: int) -> bytes:
    """Return a chunk of a chunked body."""
    return f"{size:x}\r\n".encode() + bytes(size) + b"\r\n"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PATCH", UPLOAD),
        ("PUT", f"{UPLOAD}?digest=sha256:{64 * '0'}"),
        ("POST", f"/v2/a/b/blobs/uploads/?digest=sha256:{64 * '0'}"),
        ("GET", UPLOAD),
        ("PUT", "/v2/a/b/manifests/latest"),
    ],
)
@pytest.mark.parametrize("token", ["none", "foreign", "pull", "other repository"])
def test_a_push_without_permission_is_answered_before_its_body(
    image: RunningImage, method: str, path: str, token: str
) -> None:
    size = 3 * MEBIBYTE
    headers = [f"Content-Length: {size}", *authorization(image, token)]
    with begin(image.url, method, path, *headers, sent=0) as connection:
        answer = read_answer(connection)
    assert_challenged(answer, "a/b")
    assert spooled(image) == 0


def test_a_refusal_that_leaves_a_body_unread_closes_the_connection(image: RunningImage) -> None:
    """The next request of the client on this connection would get no response."""
    with begin(image.url, "PUT", "/v2/a/b/manifests/latest", "Content-Length: 9", sent=0) as unread:
        answer = read_answer(unread)
        assert_challenged(answer, "a/b")
        assert answer.headers["connection"] == "close"
        assert answer.headers["content-type"] == "application/json"
        assert not [name for name in answer.headers if name.startswith("x-")]
        unread.sendall(bytes(9))
        assert unread.recv(1) == b""


def authorization(image: RunningImage, token: str) -> list[str]:
    """Return the header of a client without permission to push to a/b."""
    if token == "none":
        return []
    if token == "foreign":
        return ["Authorization: Bearer eyJhbGciOiJub25lIn0.e30."]
    session = image.session()
    scope = "repository:a/b:pull" if token == "pull" else "repository:a/c:pull,push"
    answer = session.get(
        f"{image.url}/v2/auth",
        params={"service": "registry.test", "scope": scope},
        auth=(image.username, image.password),
    )
    return [f"Authorization: Bearer {answer.json()['token']}"]


def assert_challenged(answer: Answer, name: str) -> None:
    assert answer.status == 401
    assert answer.codes() == ["UNAUTHORIZED"]
    challenge = answer.headers["www-authenticate"]
    assert challenge.startswith("Bearer realm=")
    assert f'scope="repository:{name}:pull,push"' in challenge
    assert answer.headers["docker-distribution-api-version"] == "registry/2.0"


def test_a_chunked_push_without_a_token_is_answered_before_its_body(image: RunningImage) -> None:
    with begin(image.url, "PATCH", UPLOAD, "Transfer-Encoding: chunked", sent=0) as connection:
        connection.sendall(chunked(64 * KIBIBYTE))
        answer = read_answer(connection)
    assert_challenged(answer, "a/b")
    assert spooled(image) == 0


def test_a_refused_client_that_keeps_sending_can_read_the_response(image: RunningImage) -> None:
    headers = [f"Content-Length: {19 * 2**30}"]
    with begin(image.url, "PATCH", UPLOAD, *headers, sent=8 * MEBIBYTE) as connection:
        answer = read_answer(connection)
    assert_challenged(answer, "a/b")
    assert spooled(image) == 0


@pytest.mark.parametrize(
    ("method", "path", "limit"),
    [
        ("GET", f"/v2/a/b/blobs/sha256:{64 * '0'}", 64 * KIBIBYTE),
        ("GET", "/v2/a/b/tags/list", 64 * KIBIBYTE),
        ("POST", "/health", 64 * KIBIBYTE),
        ("GET", "/health/instance", 64 * KIBIBYTE),
        ("POST", "/status", 64 * KIBIBYTE),
        ("POST", "/v2/auth", 64 * KIBIBYTE),
        ("POST", "/", 64 * KIBIBYTE),
        ("POST", "/api/v1/signin", MEBIBYTE),
        ("POST", "/oauth/authorizeapp", MEBIBYTE),
    ],
)
def test_each_path_has_a_size_limit(
    image: RunningImage, method: str, path: str, limit: int
) -> None:
    announced = [f"Content-Length: {limit + 1}"]
    with begin(image.url, method, path, *announced, sent=0) as connection:
        known = read_answer(connection)
    assert (known.status, known.codes()) == (413, ["SIZE_INVALID"])
    with begin(image.url, method, path, "Transfer-Encoding: chunked", sent=0) as connection:
        with contextlib.suppress(ConnectionError):
            for _ in range(2 + limit // (64 * KIBIBYTE)):
                connection.sendall(chunked(64 * KIBIBYTE))
        unknown = read_answer(connection)
    assert unknown.status == 413
    wait_until("nothing is spooled", lambda: spooled(image) == 0)


def test_read_requests_of_the_api_have_the_small_limit(image: RunningImage) -> None:
    with begin(image.url, "GET", "/api/v1/user/", "Transfer-Encoding: chunked", sent=0) as one:
        with contextlib.suppress(ConnectionError):
            for _ in range(3):
                one.sendall(chunked(64 * KIBIBYTE))
        assert read_answer(one).status == 413
    assert exchange(image.url, head("GET", "/api/v1/discovery")).status == 200


@pytest.mark.parametrize(("method", "path"), [("POST", "/api/v1/signin"), ("GET", "/api/v1/user/")])
def test_unfinished_large_bodies_of_the_api_are_limited(
    image: RunningImage, method: str, path: str
) -> None:
    """They are received without a token, so there is a limit for all of them together."""
    held, answers = [], []
    try:
        for _ in range(80):
            headers = [f"Content-Length: {900 * KIBIBYTE}"]
            connection = begin(image.url, method, path, *headers, sent=64 * KIBIBYTE)
            connection.settimeout(0.05)
            held.append(connection)
        for connection in held:
            try:
                answers.append(connection.recv(12))
            except TimeoutError:
                answers.append(b"")
        assert answers.count(b"") == 64
        assert answers.count(b"HTTP/1.1 429") == 16
        headers = ["Content-Type: application/json", "Content-Length: 2"]
        small = exchange(image.url, head("POST", "/api/v1/signin", *headers) + b"{}")
        assert small.status == 400
    finally:
        for connection in held:
            connection.close()
    wait_until("the bodies are deleted", lambda: spooled(image) == 0)


def test_pushes_with_a_token_succeed(registry: Registry) -> None:
    for size in (1, 64 * KIBIBYTE + 1, 3 * MEBIBYTE):
        blob = os.urandom(size)
        registry.push_blob(blob)
        location = registry.begin_upload()
        answer = registry.patch(location, blob)
        assert answer.status_code == 202
        done = registry.put(answer.headers["Location"], sha256(blob))
        assert done.status_code == 201
    registry.push_image("v1", annotations={"large": "x" * MEBIBYTE})
