"""Scanners are down for an hour during 1,000 pushes."""

from __future__ import annotations

import os
import statistics
import time

import pytest
from atoll.auth.access import PULL, Grant
from atoll.auth.tokens import Tokens
from atoll.periodic import ThreadRegistry
from atoll.web.app import create_app
from falcon.testing import TestClient

from ..integration.services import wait_until
from .mirror_images import bound, push_image
from .scanning_stack import Stack, scanning_stack

__all__ = ["scanning_stack"]

IMAGES = 1000
# A shorter outage for a try.
MINUTES = float(os.environ.get("ATOLL_TEST_OUTAGE_MINUTES", "60"))


class Client:
    """Pushes images and pulls them by their tags, and measures both."""

    def __init__(self, stack: Stack, prefix: str) -> None:
        self._site, self._prefix = stack.us, prefix
        self._client = TestClient(create_app(self._site.graph.dependencies()))
        self.pushes: list[float] = []
        self.pulls: list[float] = []

    def push_and_pull(self, number: int, pause: float) -> None:
        """Push and pull images, each after a pause in seconds."""
        for one in range(number):
            time.sleep(pause)
            tag = f"{self._prefix}-{one}"
            began = time.perf_counter()
            digest = push_image(self._site, tag, tag)
            self.pushes.append(time.perf_counter() - began)
            path, headers = self._request(tag)
            began = time.perf_counter()
            answer = self._client.simulate_get(path, headers=headers)
            self.pulls.append(time.perf_counter() - began)
            assert answer.headers["Docker-Content-Digest"] == str(digest), answer.text

    def described(self) -> str:
        """Return the number of images, and the median and 99th percentile of both."""
        figures = []
        for kind, seconds in (("pushes", self.pushes), ("pulls", self.pulls)):
            last = sorted(seconds)[len(seconds) * 99 // 100]
            median = statistics.median(seconds)
            figures.append(f"{kind} {median * 1000:.1f} ms (99 %: {last * 1000:.1f})")
        return f"{self._prefix:<8} {len(self.pushes):4} images: {', '.join(figures)}"

    def _request(self, tag: str) -> tuple[str, dict[str, str]]:
        name = bound(self._site)
        tokens = Tokens.from_bundle(self._site.graph.bundle)
        token, _ = tokens.issue(None, [Grant(name, frozenset({PULL}), id=name.id)])
        return f"/v2/{name}/manifests/{tag}", {"Authorization": f"Bearer {token}"}


@pytest.mark.long
def test_scanners_that_are_down_for_an_hour_fail_no_push_no_pull_and_no_scan(
    scanning_stack: Stack,
) -> None:
    stack = scanning_stack
    pause = MINUTES * 60 / IMAGES
    before, during = Client(stack, "before"), Client(stack, "during")
    worker = stack.worker()
    worker.start(ThreadRegistry())
    try:
        before.push_and_pull(IMAGES // 10, min(pause, 1.0))
        wait_until("all images are scanned", lambda: not stack.due())
        for stop in stack.stopped.values():
            stop()
        during.push_and_pull(IMAGES, pause)
        assert stack.due() == IMAGES
        for name in stack.clairs:
            stack.restart(name)
        wait_until("all images are scanned", lambda: not stack.due(), seconds=900)
    finally:
        worker.stop(wait=True)
    rows = stack.us.database.read("SELECT index_status, count(*) FROM securityscan GROUP BY 1")
    assert [list(row) for row in rows] == [[2, IMAGES + IMAGES // 10]]
    print(f"\n{before.described()}\n{during.described()}")  # noqa: T201
