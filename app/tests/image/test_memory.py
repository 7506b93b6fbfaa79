"""Pushing and pulling a layer of any size takes little memory, with any chunk size."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urljoin

import pytest
import requests

from ..integration.conftest import make_database
from ..integration.services import Services
from .content import MEBIBYTE, Content
from .memory import PeakMemory
from .running import CONFINED, USER, RunningImage, begin_upload, running_image, write_bundle

log = logging.getLogger(__name__)

NAME = "library/large"
LIMIT = 300 * MEBIBYTE
# Several times the limit, so that unbounded memory is noticed. For a layer of 5 GiB set 5120.
SIZE = int(os.environ.get("ATOLL_TEST_LAYER_MIB", "1024")) * MEBIBYTE


@pytest.fixture(scope="module")
def measured(
    services: Services, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningImage]:
    stack = write_bundle(
        services, make_database(services, template), tmp_path_factory.mktemp("large")
    )
    # As the collection runs it, with the same number of processes on every machine.
    options = (*CONFINED, "--env=WORKER_COUNT_REGISTRY=2")
    with running_image(services, stack, options=options) as running:
        yield running


def put_at_once(session: requests.Session, location: str, content: Content) -> None:
    """One PUT with Content-Length."""
    finish(session, location, content, data=content.stream())


def patch_once(session: requests.Session, location: str, content: Content) -> None:
    """One PATCH without a length, as podman, docker and skopeo send it."""
    answer = session.patch(location, data=content.pieces())
    assert answer.status_code == 202, answer.text
    finish(session, urljoin(location, answer.headers["Location"]), content)


def in_chunks(size: int) -> Callable[[requests.Session, str, Content], None]:
    def push(session: requests.Session, location: str, content: Content) -> None:
        for start in range(0, content.size, size):
            end = min(start + size, content.size)
            answer = session.patch(
                location,
                data=content.stream(start, end),
                headers={"Content-Range": f"{start}-{end - 1}"},
            )
            assert answer.status_code == 202, answer.text
            location = urljoin(location, answer.headers["Location"])
        finish(session, location, content)

    return push


def finish(session: requests.Session, location: str, content: Content, data: object = None) -> None:
    answer = session.put(location, params={"digest": content.digest}, data=data)  # type: ignore[arg-type]
    assert answer.status_code == 201, answer.text


def pull(session: requests.Session, running: RunningImage, content: Content) -> int:
    """Pull, with a redirect if there is one; return the status of the first response."""
    url = f"{running.url}/v2/{NAME}/blobs/{content.digest}"
    first = session.get(url, allow_redirects=False, stream=True)
    if first.status_code == 307:
        # The store does not accept the registry's token.
        answer = running.session().get(first.headers["Location"], stream=True)
    else:
        answer = first
    hasher = hashlib.sha256()
    for piece in answer.iter_content(MEBIBYTE):
        hasher.update(piece)
    assert f"sha256:{hasher.hexdigest()}" == content.digest
    return first.status_code


def push_and_pull(
    running: RunningImage,
    push: Callable[[requests.Session, str, Content], None],
    content: Content,
) -> tuple[int, PeakMemory]:
    """Push and pull; return the status of the pull's first response, and the memory."""
    session = running.session()
    running.authorize(session, NAME)
    with PeakMemory(running) as memory:
        idle = memory.now()
        push(session, begin_upload(session, running.url, NAME), content)
        status = pull(session, running, content)
    log.info(
        "a layer of %d MiB: %d MiB idle, %d MiB at the peak",
        *(number // MEBIBYTE for number in (content.size, idle, memory.peak)),
    )
    assert memory.samples > 1
    return status, memory


@pytest.mark.parametrize(
    "push",
    [
        pytest.param(put_at_once, id="one-PUT", marks=pytest.mark.long),
        pytest.param(patch_once, id="one-PATCH"),
        pytest.param(in_chunks(100 * MEBIBYTE), id="chunks-of-100-MiB", marks=pytest.mark.long),
        pytest.param(in_chunks(9_999_999), id="chunks-of-10-MB", marks=pytest.mark.long),
    ],
)
def test_a_large_layer_takes_little_memory(
    measured: RunningImage,
    push: Callable[[requests.Session, str, Content], None],
    request: pytest.FixtureRequest,
) -> None:
    content = Content(SIZE, seed=len(request.node.name))
    status, memory = push_and_pull(measured, push, content)
    assert status == 307
    assert memory.peak < LIMIT


@pytest.mark.long
def test_a_large_layer_sent_by_the_registry_takes_little_memory(
    services: Services, database: str, tmp_path: Path
) -> None:
    changes: dict[str, object | None] = {
        "DISTRIBUTED_STORAGE_CONFIG": {"local": ["LocalStorage", {"storage_path": "/datastorage"}]},
        "DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS": [],
        "DISTRIBUTED_STORAGE_PREFERENCE": ["local"],
        "FEATURE_STORAGE_REPLICATION": False,
    }
    stack = write_bundle(services, database, tmp_path, changes)
    store = tmp_path / "store"
    store.mkdir()
    os.chown(store, USER, USER)
    options = (*CONFINED, "--env=WORKER_COUNT_REGISTRY=2", f"--volume={store}:/datastorage:Z")
    with running_image(services, stack, preference="local", options=options) as running:
        status, memory = push_and_pull(running, patch_once, Content(SIZE, seed=1))
    assert status == 200
    assert memory.peak < LIMIT
