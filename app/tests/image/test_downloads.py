"""Bytes that pass through the registry: who takes them slowly keeps nobody else waiting."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from ..integration.services import SECONDS, Services, wait_until
from .content import MEBIBYTE, Content
from .running import CONFINED, RunningImage, begin_upload, running_image, write_bundle

NAME = "library/downloaded"
# More than there are threads for anything.
SLOW = 100


@pytest.fixture
def proxying(services: Services, database: str, tmp_path: Path) -> Iterator[RunningImage]:
    stack = write_bundle(services, database, tmp_path, {"FEATURE_PROXY_STORAGE": True})
    with running_image(services, stack, options=CONFINED) as running:
        yield running


def begin_slow_download(
    running: RunningImage, session: requests.Session, digest: str
) -> socket.socket:
    """Ask for a blob, and read nothing of the answer."""
    address = urlsplit(running.url)
    connection = socket.socket()
    # What comes stays on the way, not in this machine's memory.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect((address.hostname, address.port))
    connection.sendall(
        f"GET /v2/{NAME}/blobs/{digest} HTTP/1.1\r\nHost: {address.netloc}\r\n"
        f"Authorization: {session.headers['Authorization']!s}\r\n\r\n".encode()
    )
    return connection


def test_slow_downloads_keep_nobody_from_being_served(proxying: RunningImage) -> None:
    session = proxying.session()
    proxying.authorize(session, NAME)
    content = Content(16 * MEBIBYTE, seed=1)
    location = begin_upload(session, proxying.url, NAME)
    answer = session.put(location, params={"digest": content.digest}, data=content.stream())
    assert answer.status_code == 201, answer.text
    blob = f"{proxying.url}/v2/{NAME}/blobs/{content.digest}"

    with ExitStack() as stack:
        for _ in range(SLOW):
            stack.enter_context(begin_slow_download(proxying, session, content.digest))
        for _ in range(SLOW):
            # Without a limit a registry that is held up would hold this test up.
            answer = session.head(blob, timeout=SECONDS)
            assert answer.status_code == 200

    # On a busy machine the store is taken for dead for a moment, after a hundred requests at once.
    wait_until("it can be downloaded", lambda: len(session.get(blob).content) == content.size)
