"""Requests for ranges read no more than the blob has, and do not delay other pulls."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest
import requests

from ..image.content import MEBIBYTE, Content
from ..image.running import RunningImage, begin_upload, push_blob

NAME = "library/ranges"
# More than there are threads for downloads.
SLOW = 100


@pytest.fixture
def session(image: RunningImage) -> requests.Session:
    session = image.session()
    image.authorize(session, NAME)
    return session


def _status(connection: socket.socket) -> int:
    head = b""
    while b"\r\n" not in head:
        head += connection.recv(1)
    return int(head.split()[1])


def _get_slowly(
    image: RunningImage, session: requests.Session, path: str, *, host: str, ranges: str
) -> socket.socket:
    """Request ranges that cover the whole blob, and leave the response unread."""
    address = urlsplit(image.url)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect((address.hostname, address.port))
    connection.sendall(
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nRange: bytes={ranges}\r\n"
        f"Authorization: {session.headers['Authorization']!s}\r\nConnection: close\r\n\r\n".encode()
    )
    return connection


@pytest.mark.parametrize("ranges", ["0-9,10-", "0-"])
def test_slow_readers_do_not_delay_pulls(
    image: RunningImage, session: requests.Session, ranges: str
) -> None:
    """Several ranges, or a Host header with the store's name, prevent the redirect."""
    content = Content(16 * MEBIBYTE, seed=2)
    location = begin_upload(session, image.url, NAME)
    answer = session.put(location, params={"digest": content.digest}, data=content.stream())
    assert answer.status_code == 201, answer.text
    path = f"/v2/{NAME}/blobs/{content.digest}"
    location = session.get(f"{image.url}{path}", allow_redirects=False).headers["Location"]
    host = str(urlsplit(location).hostname)
    with ExitStack() as stack:
        slow = [
            stack.enter_context(_get_slowly(image, session, path, host=host, ranges=ranges))
            for _ in range(SLOW)
        ]
        statuses = {_status(connection) for connection in slow}
        assert 206 in statuses <= {206, 429}
        answer = session.get(f"{image.url}{path}", allow_redirects=False)
        assert answer.status_code == 307
        assert session.get(f"{image.url}{path}").status_code == 200


@pytest.mark.parametrize(
    "ranges",
    [
        pytest.param(",".join(["0-"] * 500), id="whole-blob-repeated"),
        pytest.param(",".join(["0-0"] * 1500), id="many-ranges"),
        pytest.param(",".join(f"{n * 70_000}-{n * 70_000}" for n in range(200)), id="scattered"),
        pytest.param("0-0," * 20_000, id="long-header"),
    ],
)
def test_excessive_ranges_are_refused(
    image: RunningImage, session: requests.Session, ranges: str
) -> None:
    digest = push_blob(session, image.url, NAME, bytes(15_000_000))
    answer = session.get(
        f"{image.url}/v2/{NAME}/blobs/{digest}",
        headers={"Range": f"bytes={ranges}"},
        allow_redirects=False,
    )
    assert answer.status_code == 400
    assert len(answer.content) < 1000
