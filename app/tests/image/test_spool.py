"""The spool has a limited size: bodies that do not fit are refused as retryable and deleted."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from ..integration.services import Services, wait_until
from .content import MEBIBYTE, Content
from .running import CONFINED, RunningImage, begin_upload, running_image, write_bundle

NAME = "library/spooled"
SPOOL = "/var/spool/atoll"
SPOOL_SIZE = 64 * MEBIBYTE


@pytest.fixture
def small_spool(services: Services, database: str, tmp_path: Path) -> Iterator[RunningImage]:
    """A registry with a small spool."""
    options = (*CONFINED, f"--tmpfs={SPOOL}:rw,size={SPOOL_SIZE},mode=1777")
    stack = write_bundle(services, database, tmp_path)
    with running_image(services, stack, options=options) as running:
        yield running


@pytest.fixture
def session(small_spool: RunningImage) -> requests.Session:
    session = small_spool.session()
    small_spool.authorize(session, NAME)
    return session


def spooled(running: RunningImage) -> int:
    """Return the bytes in the spool."""
    disk = os.statvfs(running.inside(SPOOL))
    return (disk.f_blocks - disk.f_bfree) * disk.f_frsize


def assert_retryable(answer: requests.Response) -> None:
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.json()["errors"][0]["code"] == "UNAVAILABLE"


def begin_slow_body(
    session: requests.Session, location: str, content: Content, sent: int
) -> socket.socket:
    """Send the first `sent` bytes of a PUT's body, and keep the connection open."""
    address = urlsplit(location)
    connection = socket.create_connection((address.hostname, address.port))
    connection.sendall(
        f"PUT {address.path}?{address.query}&digest={content.digest} HTTP/1.1\r\n"
        f"Host: {address.netloc}\r\nAuthorization: {session.headers['Authorization']!s}\r\n"
        f"Content-Length: {content.size}\r\nConnection: close\r\n\r\n".encode()
    )
    for piece in content.pieces(0, sent):
        connection.sendall(piece)
    return connection


@pytest.mark.parametrize("known", [True, False], ids=["length-known", "length-unknown"])
def test_a_body_that_does_not_fit_is_retryable_and_leaves_nothing(
    small_spool: RunningImage, session: requests.Session, services: Services, known: bool
) -> None:
    before = services.us.objects() | services.eu.objects()
    large = Content(2 * SPOOL_SIZE, seed=1)
    location = begin_upload(session, small_spool.url, NAME)
    body = large.stream() if known else large.pieces()
    assert_retryable(session.patch(location, data=body))
    wait_until("the spool is empty", lambda: spooled(small_spool) == 0)
    assert services.us.objects() | services.eu.objects() == before
    assert services.us.open_uploads() == services.eu.open_uploads() == 0

    fits = Content(SPOOL_SIZE // 2, seed=2)
    answer = session.put(location, params={"digest": fits.digest}, data=fits.stream())
    assert answer.status_code == 201, answer.text
    wait_until("the spool is empty", lambda: spooled(small_spool) == 0)


def test_a_refused_upload_can_continue_once_there_is_space(
    small_spool: RunningImage, session: requests.Session
) -> None:
    first, second = (Content(40 * MEBIBYTE, seed=seed) for seed in (3, 4))
    slow = begin_slow_body(
        session, begin_upload(session, small_spool.url, NAME), first, sent=first.size - MEBIBYTE
    )
    wait_until(
        "most of the body is received", lambda: spooled(small_spool) > first.size - 4 * MEBIBYTE
    )

    location = begin_upload(session, small_spool.url, NAME)
    finish = {"digest": second.digest}
    assert_retryable(session.put(location, params=finish, data=second.stream()))
    # The instance is still healthy: a load balancer should keep sending requests to it.
    assert session.get(f"{small_spool.url}/health/instance").status_code == 200

    for piece in first.pieces(first.size - MEBIBYTE):
        slow.sendall(piece)
    assert slow.recv(12) == b"HTTP/1.1 201"
    slow.close()
    wait_until("the spool has space", lambda: spooled(small_spool) == 0)
    answer = session.put(location, params=finish, data=second.stream())
    assert answer.status_code == 201, answer.text


def test_a_disconnected_client_leaves_nothing(
    small_spool: RunningImage, session: requests.Session
) -> None:
    content = Content(40 * MEBIBYTE, seed=5)
    location = begin_upload(session, small_spool.url, NAME)
    slow = begin_slow_body(session, location, content, sent=content.size // 2)
    wait_until("half of the body is received", lambda: spooled(small_spool) > content.size // 4)
    slow.close()
    wait_until("the spool is empty", lambda: spooled(small_spool) == 0)
