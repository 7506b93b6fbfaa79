"""The nearest Clair that is available is asked."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from atoll.scanning.clair.client import ClairClient, Layer
from atoll.scanning.clair.errors import (
    ImageRejected,
    ScannerBusy,
    ScannerError,
    ScannerMisconfigured,
    ScannerTimedOut,
    ScannerUnavailable,
)
from atoll.scanning.clair.http import ClairHttp
from atoll.scanning.clairs import Clairs, NoClairAvailable, endpoints_in_order

from tests.clair.replay import Options, ReplayServer
from tests.clair.state import State
from tests.unit.clock import Clock

SESSION = ClairHttp()
KEY = b"a key of 32 bytes for the tests!"
DIGEST = f"sha256:{'1' * 64}"
LAYER = Layer(f"sha256:{'2' * 64}", "http://127.0.0.1:9/blob")
# Failures in a row after which a Clair is paused, and the seconds of the first pause.
THRESHOLD, PAUSE = 5, 10


class Operation:
    """Fails as configured, and keeps the locations of the Clairs that were asked."""

    def __init__(self, **errors: ScannerError) -> None:
        self.errors = dict(errors)
        self.asked: list[str] = []

    def __call__(self, client: ClairClient) -> str:
        self.asked.append(client.location)
        if client.location in self.errors:
            raise self.errors[client.location]
        return client.location


def clairs(clock: Clock, *locations: str) -> Clairs:
    return Clairs(
        [ClairClient(one, "http://127.0.0.1:9", [], SESSION) for one in locations], monotonic=clock
    )


def test_clair_of_the_own_site_is_asked_first() -> None:
    operation = Operation()
    assert clairs(Clock(), "us", "eu").first(operation) == "us"
    assert operation.asked == ["us"]


@pytest.mark.parametrize("error", [ScannerUnavailable, ScannerTimedOut, ScannerMisconfigured])
def test_clair_of_another_site_is_asked_if_the_own_is_unavailable(
    error: type[ScannerError],
) -> None:
    operation = Operation(us=error("down"))
    assert clairs(Clock(), "us", "eu").first(operation) == "eu"
    assert operation.asked == ["us", "eu"]


@pytest.mark.parametrize("error", [ImageRejected, ScannerBusy])
def test_other_errors_are_not_tried_elsewhere(error: type[ScannerError]) -> None:
    operation = Operation(us=error("refused"))
    with pytest.raises(error):
        clairs(Clock(), "us", "eu").first(operation)
    assert operation.asked == ["us"]


def test_error_names_the_cause_of_each_clair() -> None:
    operation = Operation(us=ScannerUnavailable("no route"), eu=ScannerTimedOut("silent"))
    with pytest.raises(NoClairAvailable, match="'us': no route; 'eu': silent") as raised:
        clairs(Clock(), "us", "eu").first(operation)
    assert raised.value.causes == {"us": "no route", "eu": "silent"}
    assert raised.value.seconds == 0


def test_clair_that_fails_repeatedly_is_not_asked_for_a_while() -> None:
    clock = Clock()
    several = clairs(clock, "us", "eu")
    operation = Operation(us=ScannerUnavailable("down"))
    for _ in range(THRESHOLD + 3):
        assert several.first(operation) == "eu"
    assert operation.asked.count("us") == THRESHOLD
    assert several.seconds() == 0


def test_clair_is_asked_again_after_its_pause() -> None:
    clock = Clock()
    several = clairs(clock, "us", "eu")
    operation = Operation(us=ScannerUnavailable("down"))
    for _ in range(THRESHOLD):
        several.first(operation)
    operation.errors.clear()
    clock.now += PAUSE
    assert several.first(operation) == "us"


def test_no_clair_is_asked_while_all_are_paused() -> None:
    clock = Clock()
    several = clairs(clock, "us")
    operation = Operation(us=ScannerUnavailable("down"))
    for _ in range(THRESHOLD + 1):
        with pytest.raises(NoClairAvailable):
            several.first(operation)
    assert len(operation.asked) == THRESHOLD
    clock.now += 4
    with pytest.raises(NoClairAvailable, match="'us': down") as raised:
        several.first(operation)
    assert raised.value.seconds == several.seconds() == PAUSE - 4


def test_errors_about_images_do_not_pause_a_clair() -> None:
    several = clairs(Clock(), "us")
    for _ in range(THRESHOLD):
        with pytest.raises(ImageRejected):
            several.first(Operation(us=ImageRejected("not an archive")))
    assert several.first(Operation()) == "us"


def test_without_a_clair_the_error_states_it() -> None:
    with pytest.raises(NoClairAvailable, match="no Clair is configured"):
        clairs(Clock()).first(Operation())


def test_clairs_of_other_sites_follow_in_the_order_of_preference() -> None:
    endpoints = {"ap": "c", "eu": "b", "us": "a"}
    assert list(endpoints_in_order(["us", "eu"], endpoints, None)) == ["us", "eu", "ap"]


def test_default_endpoint_is_that_of_the_own_site_unless_it_is_named() -> None:
    assert endpoints_in_order(["us", "eu"], {"eu": "b"}, "d") == {"us": "d", "eu": "b"}
    assert endpoints_in_order(["us"], {"us": "a"}, "d") == {"us": "a"}


# With replay servers --------------------------------------------------------------------------


@contextmanager
def replay(directory: Path) -> Iterator[ReplayServer]:
    with ReplayServer(State(directory), Options(key=KEY)).running() as server:
        yield server


def test_report_comes_from_another_site_within_two_seconds_if_the_own_clair_is_dead(
    tmp_path: Path,
) -> None:
    with ExitStack() as stack:
        us, eu = (stack.enter_context(replay(tmp_path)) for _ in range(2))
        several = Clairs([ClairClient("us", us.url, [KEY], SESSION)])
        several.first(lambda client: client.index(DIGEST, [LAYER]))
        with socket.create_server(("127.0.0.1", 0)) as closed:
            dead = f"http://127.0.0.1:{closed.getsockname()[1]}"
        after = Clairs(
            [
                ClairClient("us", dead, [KEY], SESSION),
                ClairClient("eu", eu.url, [KEY], SESSION),
            ]
        )
        started = time.monotonic()
        report = after.first(lambda client: client.vulnerability_report(DIGEST))
        assert time.monotonic() - started < 2
    assert json.loads(report)["manifest_hash"] == DIGEST


def test_image_indexed_at_one_site_is_known_at_all(tmp_path: Path) -> None:
    with ExitStack() as stack:
        us, eu = (stack.enter_context(replay(tmp_path)) for _ in range(2))
        ClairClient("us", us.url, [KEY], SESSION).index(DIGEST, [LAYER])
        report = ClairClient("eu", eu.url, [KEY], SESSION).index_report(DIGEST)
    assert report is not None
    assert report.is_finished
