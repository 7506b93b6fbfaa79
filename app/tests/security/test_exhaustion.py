"""Requests without credentials do not grow memory, metrics or the spool."""

from __future__ import annotations

import logging
import os
import statistics
import time

import pytest

from ..image.memory import PeakMemory
from ..image.running import RunningImage
from ..integration.services import wait_until
from .exhausting import KINDS, Flood, hold_unfinished

log = logging.getLogger(__name__)

GROWTH = 1.05
WARM_UP = 6_000


def memory(image: RunningImage) -> float:
    """Return the container's memory in bytes when it is idle."""
    meter = PeakMemory(image)
    samples = []
    for _ in range(5):
        samples.append(meter.now())
        time.sleep(0.2)
    return statistics.median(samples)


def metrics(image: RunningImage) -> int:
    return len(image.session().get(f"{image.operations_url}/metrics").content)


def spool(image: RunningImage) -> int:
    """Return the files of the spool and of request bodies in nginx that processes have open."""
    namespace = os.readlink(f"/proc/{image.process}/ns/pid")
    found = 0
    for process in filter(str.isdecimal, os.listdir("/proc")):
        try:
            if os.readlink(f"/proc/{process}/ns/pid") != namespace:
                continue
            for descriptor in os.listdir(f"/proc/{process}/fd"):
                target = os.readlink(f"/proc/{process}/fd/{descriptor}")
                found += target.startswith(("/var/spool/atoll", "/tmp/atoll/nginx-body"))
        except OSError:
            continue
    return found


def assert_healthy(image: RunningImage) -> None:
    assert image.session().get(f"{image.url}/health/instance").status_code == 200


@pytest.mark.parametrize(
    "number", [20_000, pytest.param(100_000, marks=pytest.mark.long)], ids=["20000", "100000"]
)
def test_requests_without_credentials_leave_nothing_behind(
    image: RunningImage, number: int
) -> None:
    Flood(image.url, WARM_UP).run()
    held = hold_unfinished(image.url, 40)
    for connection in held:
        connection.close()
    wait_until("the spool is empty", lambda: spool(image) == 0)
    assert_healthy(image)
    metrics(image)  # This request is counted too.
    before, metrics_before = memory(image), metrics(image)

    flood = Flood(image.url, number, start=WARM_UP)
    held = hold_unfinished(image.url, 100)
    began = time.monotonic()
    flood.run()
    seconds = time.monotonic() - began
    assert_healthy(image)
    for connection in held:
        connection.close()

    wait_until("the spool is empty", lambda: spool(image) == 0)
    after, metrics_after = memory(image), metrics(image)
    log.info(
        "%d requests in %.0f s: memory %.1f to %.1f MiB, metrics %d to %d bytes; %s",
        number,
        seconds,
        before / 2**20,
        after / 2**20,
        metrics_before,
        metrics_after,
        {name: sorted(found) for name, found in sorted(flood.statuses.items())},
    )
    assert flood.statuses.keys() == {kind.name for kind in KINDS}
    assert not {status for found in flood.statuses.values() for status in found if status >= 500}
    assert flood.answered > 0.99 * number
    assert metrics_after < GROWTH * metrics_before
    assert after < GROWTH * before
