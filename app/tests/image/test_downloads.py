"""Downloads through the registry: slow clients do not delay others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ..integration.services import SECONDS, Services, wait_until
from .content import MEBIBYTE, Content
from .running import (
    CONFINED,
    RunningImage,
    begin_slow_download,
    begin_upload,
    running_image,
    write_bundle,
)

NAME = "library/downloaded"
# More than the registry has threads.
SLOW = 100


@pytest.fixture
def proxying_image(services: Services, database: str, tmp_path: Path) -> Iterator[RunningImage]:
    stack = write_bundle(services, database, tmp_path, {"FEATURE_PROXY_STORAGE": True})
    with running_image(services, stack, options=CONFINED) as running:
        yield running


def test_slow_downloads_do_not_delay_other_requests(proxying_image: RunningImage) -> None:
    session = proxying_image.session()
    proxying_image.authorize(session, NAME)
    content = Content(16 * MEBIBYTE, seed=1)
    location = begin_upload(session, proxying_image.url, NAME)
    answer = session.put(location, params={"digest": content.digest}, data=content.stream())
    assert answer.status_code == 201, answer.text
    path = f"/v2/{NAME}/blobs/{content.digest}"
    blob = f"{proxying_image.url}{path}"

    with ExitStack() as stack:
        for _ in range(SLOW):
            stack.enter_context(begin_slow_download(proxying_image, session, path))
        for _ in range(SLOW):
            # A blocked registry fails the test instead of blocking it.
            answer = session.head(blob, timeout=SECONDS)
            assert answer.status_code == 200

    # On a busy machine the store may be unavailable for a moment after a hundred parallel requests.
    wait_until("the blob can be downloaded", lambda: len(session.get(blob).content) == content.size)
