"""Run fuzz targets for a configurable time.

ATOLL_FUZZ_SECONDS is the time for each target in seconds, 1 by default. Each round has its own
seed, which is part of a failure; ATOLL_FUZZ_SEED repeats that round. Failed examples are stored in
`.cache/fuzz` and run first the next time.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings, strategies
from hypothesis.database import DirectoryBasedExampleDatabase
from hypothesis.strategies import SearchStrategy

SECONDS = float(os.environ.get("ATOLL_FUZZ_SECONDS", "1"))
SEED = os.environ.get("ATOLL_FUZZ_SEED")
_EXAMPLES_PER_ROUND = 200
_DATABASE = Path(__file__).resolve().parents[3] / ".cache/fuzz"
# An input that is _LONGER times as long may take at most _MORE_TIME times as long. The factor is 16
# for linear and 256 for quadratic time.
_LONGER = 16
_MORE_TIME = 100
_LEAST_SECONDS = 0.001


def fuzz(check: Callable[..., None], *examples: SearchStrategy[Any], share: float = 1.0) -> None:
    """Call `check` with examples until the time has passed, for at least one round.

    Args:
        check: the target, which raises if an example reveals a bug.
        examples: a strategy for each of its arguments.
        share: the fraction of the configured time that it gets.

    Raises:
        Exception: the exception of `check` for the smallest failing example.
    """
    end = time.monotonic() + SECONDS * share

    def checked(example: tuple[Any, ...]) -> None:
        try:
            check(*example)
        except BaseException as error:
            error.add_note(f"example: {example!a:.2000}")
            raise

    run = settings(
        max_examples=_EXAMPLES_PER_ROUND,
        database=DirectoryBasedExampleDatabase(_DATABASE),
        deadline=None,
        suppress_health_check=list(HealthCheck),
        # No explain phase, which runs the target again for each part of the example.
        phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
    )(given(strategies.tuples(*examples))(checked))
    while True:
        number = int(SEED) if SEED else random.randrange(2**32)
        try:
            seed(number)(run)()
        except BaseException as error:
            error.add_note(f"repeat with ATOLL_FUZZ_SEED={number}")
            raise
        if SEED or time.monotonic() >= end:
            return


def assert_linear(parse: Callable[[str], object], make: Callable[[int], str], size: int) -> None:
    """Assert that `parse` runs in time proportional to the length of its input.

    Compares CPU time of this thread, which does not depend on other processes.

    Args:
        parse: the parser, whose result is ignored.
        make: returns a hostile input of approximately the given number of characters.
        size: the length of the shorter input; the longer one is 16 times longer.
    """
    short, long = (_processor_seconds(parse, make(length)) for length in (size, size * _LONGER))
    assert long <= _MORE_TIME * max(short, _LEAST_SECONDS), f"{short} s, then {long} s"


def _processor_seconds(parse: Callable[[str], object], text: str) -> float:
    best = float("inf")
    for _ in range(3):
        began = time.thread_time()
        parse(text)
        best = min(best, time.thread_time() - began)
    return best
