"""The placement protocol keeps every acknowledged blob, in any order of events and faults."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from .known_interleavings import KNOWN, run_known
from .protocol_machine import PlacementProtocol
from .protocol_world import World

_SETTINGS = settings(
    deadline=None,
    database=None,
    stateful_step_count=30,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
# Examples of the short run, which are always the same, and of each round of the long run.
_EXAMPLES, _EXAMPLES_OF_ROUND = 40, 200


@pytest.fixture
def world(
    make_database: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    # A push must not wait for deletions that the test has stopped.
    monkeypatch.setattr("atoll.placement.content_deletions._PAUSES", ())
    world = World(make_database(), tmp_path)
    PlacementProtocol.world = world
    yield world
    world.close()


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("name", KNOWN)
def test_acknowledged_blobs_survive_interleavings_that_once_lost_them(name: str) -> None:
    run_known(PlacementProtocol(), name)


@pytest.mark.usefixtures("world")
def test_acknowledged_blobs_survive_a_fixed_set_of_interleavings() -> None:
    examples = settings(_SETTINGS, max_examples=_EXAMPLES, derandomize=True)
    run_state_machine_as_test(PlacementProtocol, settings=examples)


@pytest.mark.long
@pytest.mark.usefixtures("world")
def test_acknowledged_blobs_survive_random_interleavings_for_an_hour() -> None:
    """Run rounds of random examples; ATOLL_PROTOCOL_SEED repeats one round."""
    examples = settings(_SETTINGS, max_examples=_EXAMPLES_OF_ROUND, derandomize=False)
    given = os.environ.get("ATOLL_PROTOCOL_SEED")
    deadline = time.monotonic() + float(os.environ.get("ATOLL_PROTOCOL_SECONDS", "3600"))
    while True:
        number = random.getrandbits(32) if given is None else int(given)
        print(f"repeat this round with ATOLL_PROTOCOL_SEED={number}")  # noqa: T201
        run_state_machine_as_test(seed(number)(PlacementProtocol), settings=examples)
        if given is not None or time.monotonic() > deadline:
            return
