"""On SIGTERM requests in progress are finished, new ones refused, and then the container ends."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from ..integration.services import Services, wait_until
from ..integration.site import MANIFEST_TYPE
from .running import (
    CONFINED,
    RunningImage,
    begin_slow_download,
    begin_upload,
    podman,
    push_blob,
    running_image,
    start,
    write_bundle,
)
from .slow_upload import SlowUpload

NAME = "library/drained"
DRAIN_SECONDS = 60


@pytest.fixture
def draining(services: Services, database: str, tmp_path: Path) -> Iterator[RunningImage]:
    options = (*CONFINED, f"--env=ATOLL_DRAIN_TIMEOUT={DRAIN_SECONDS}")
    stack = write_bundle(services, database, tmp_path)
    with running_image(services, stack, options=options) as running:
        yield running


def push_large_manifest(running: RunningImage, session: requests.Session) -> bytes:
    """Push a manifest that is larger than all network buffers, and return it."""
    config = push_blob(session, running.url, NAME, b"{}")
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": config,
            "size": 2,
        },
        "layers": [],
        "annotations": {"padding": "x" * 3_900_000},
    }
    data = json.dumps(document).encode()
    answer = session.put(
        f"{running.url}/v2/{NAME}/manifests/large",
        data=data,
        headers={"Content-Type": MANIFEST_TYPE},
    )
    assert answer.status_code == 201, answer.text
    return data


def refuses_connections(url: str) -> bool:
    address = urlsplit(url)
    try:
        socket.create_connection((address.hostname, address.port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def terminate(running: RunningImage) -> None:
    running.container.kill(signal="SIGTERM")


def has_ended(running: RunningImage) -> bool:
    running.container.reload()
    return running.container.status == "exited"


def test_requests_in_progress_are_finished_and_new_ones_refused(draining: RunningImage) -> None:
    session = draining.session()
    draining.authorize(session, NAME)
    manifest = push_large_manifest(draining, session)
    upload = SlowUpload(session, begin_upload(session, draining.url, NAME))
    upload.start()
    upload.begun.wait()
    large = f"/v2/{NAME}/manifests/large"
    download = begin_slow_download(draining, session, large, accept=MANIFEST_TYPE)
    assert download.recv(12) == b"HTTP/1.1 200"
    terminate(draining)
    wait_until("new connections are refused", lambda: refuses_connections(draining.url))
    assert refuses_connections(draining.tls_url)
    assert not has_ended(draining)

    upload.go_on.set()
    upload.join()
    assert upload.answer is not None
    assert upload.answer.status_code == 201, upload.answer.text
    # With the small buffer, the rest may take longer than the drain; and the end of the container's
    # network would not be noticed.
    download.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**20)
    download.settimeout(2 * DRAIN_SECONDS)
    received = b"".join(iter(lambda: download.recv(65536), b""))
    assert received.endswith(manifest)
    wait_until("the container has ended", lambda: has_ended(draining))
    assert draining.container.attrs["State"]["ExitCode"] == 0


def test_requests_are_served_until_load_balancers_have_noticed_the_shutdown(
    services: Services, database: str, tmp_path: Path
) -> None:
    options = (*CONFINED, "--env=ATOLL_DRAIN_NOTICE=60", "--env=ATOLL_DRAIN_TIMEOUT=2")
    stack = write_bundle(services, database, tmp_path)
    with running_image(services, stack, options=options) as running:
        session = running.session()

        def health(kind: str) -> int:
            return session.get(f"{running.url}/health/{kind}").status_code

        assert health("endtoend") == health("instance") == 200
        terminate(running)
        wait_until("the health check reports the shutdown", lambda: health("endtoend") == 503)
        assert health("instance") == 503
        running.authorize(session, NAME)
        push_large_manifest(running, session)


def test_an_idle_instance_ends_at_once(draining: RunningImage) -> None:
    began = time.monotonic()
    terminate(draining)
    wait_until("the container has ended", lambda: has_ended(draining))
    assert time.monotonic() - began < DRAIN_SECONDS / 2
    assert draining.container.attrs["State"]["ExitCode"] == 0


def test_an_instance_that_still_waits_for_postgresql_ends_at_once(
    services: Services, tmp_path: Path
) -> None:
    nowhere = {"DB_URI": "postgresql://atoll@127.0.0.1:1/nowhere"}
    container = start(services, write_bundle(services, "nowhere", tmp_path, nowhere))
    try:
        wait_until(
            "the container waits for PostgreSQL",
            lambda: "database unavailable, retrying" in podman("logs", str(container.id)).stdout,
        )
        began = time.monotonic()
        container.kill(signal="SIGTERM")
        assert container.wait() == 0
        assert time.monotonic() - began < DRAIN_SECONDS / 2
    finally:
        podman("rm", "--force", "--volumes", "--ignore", str(container.id))


def test_a_stalled_client_delays_the_end_only_by_the_drain_time(
    services: Services, database: str, tmp_path: Path
) -> None:
    options = (*CONFINED, "--env=ATOLL_DRAIN_TIMEOUT=2")
    stack = write_bundle(services, database, tmp_path)
    with running_image(services, stack, options=options) as running:
        session = running.session()
        running.authorize(session, NAME)
        location = urlsplit(begin_upload(session, running.url, NAME))
        with socket.create_connection((location.hostname, location.port)) as connection:
            connection.sendall(
                f"PATCH {location.path}?{location.query} HTTP/1.1\r\nHost: {location.netloc}\r\n"
                f"Authorization: {session.headers['Authorization']!s}\r\n"
                "Content-Length: 1000000\r\n\r\n".encode()
                + bytes(1000)
            )
            terminate(running)
            wait_until("the container has ended", lambda: has_ended(running))
