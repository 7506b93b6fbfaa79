"""The goals of the project, and whether results meet them.

Figures before the work on them were recorded on another day, so they cannot be in a ratio with
those of this run. What is compared with them is first related to a program that both runs measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .content import IMAGE_B, IMAGE_C
from .operations import (
    ANONYMOUS_TOKEN,
    ATOLL,
    BARE,
    BLOB,
    BY_DIGEST,
    BY_TAG,
    DELAY,
    DOCKER_REGISTRY,
    IDLE,
    LIMIT,
    LOADED,
    PASSWORD_TOKEN,
    START,
    Operation,
    at_once_name,
    far_name,
    large_shape,
    pull_name,
    push_name,
)
from .results import Results, Series, Spread

NOT_MEASURED = "not measured"
_CONNECTIONS = 16
# Recorded before: requests per second at 16 connections, the processor time of the registry for a
# pushed GB, and that of sha256sum.
_TOKENS_BEFORE = {PASSWORD_TOKEN: 1064, ANONYMOUS_TOKEN: 1204}
_BARE_BEFORE = 10_760
_PUSH_BEFORE, _SHA256SUM_BEFORE = 5.2, 2.01


@dataclass(frozen=True)
class Goal:
    """A goal.

    Attributes:
        title: what is measured.
        unit: the unit of the bound, such as "x docker-registry".
        bound: the number to reach.
        measure: returns the figure from the results, None if it was not measured.
        before: the figure before the work on the goal.
        least: whether the figure must be at least the bound, and not at most.
    """

    title: str
    unit: str
    bound: float
    measure: Callable[[Results], Spread | None]
    before: str
    least: bool = False

    @property
    def text(self) -> str:
        """The goal in words."""
        return f"at {'least' if self.least else 'most'} {self.bound:g} {self.unit}"

    def is_met(self, figure: float) -> bool:
        """Return whether a figure meets the goal."""
        return figure >= self.bound if self.least else figure <= self.bound


def rate(part: str, operation: Operation, target: str) -> Series:
    """Return the rate of a target at 16 connections."""
    return Series(part, operation.name(_CONNECTIONS), target, "rate")


def seconds(part: str, what: str, target: str) -> Series:
    """Return the duration of an operation of a target."""
    return Series(part, what, target, "seconds")


def _rates(part: str, operation: Operation, other: str) -> Callable[[Results], Spread | None]:
    return lambda results: results.ratio(rate(part, operation, ATOLL), rate(part, operation, other))


def _of_limit(part: str, what: str) -> Callable[[Results], Spread | None]:
    return lambda results: results.ratio(seconds(part, what, ATOLL), seconds(part, what, LIMIT))


def _tokens(operation: Operation) -> Callable[[Results], Spread | None]:
    """Return the rate of tokens over that before, both related to the bare application."""
    before = _TOKENS_BEFORE[operation] / _BARE_BEFORE

    def measure(results: Results) -> Spread | None:
        now = results.ratio(rate("tokens", operation, ATOLL), rate("tokens", BY_TAG, BARE))
        return now and now.scaled(1 / before)

    return measure


def _push_processor(results: Results) -> Spread | None:
    """Return the processor time of a push over that before, both related to sha256sum."""
    what = push_name(IMAGE_B)
    now = results.ratio(
        Series("push", what, ATOLL, "cpu registry"),
        Series("push", what, LIMIT, "cpu sha256sum"),
    )
    return now and now.scaled(_SHA256SUM_BEFORE / _PUSH_BEFORE)


def _pull(results: Results) -> Spread | None:
    what = pull_name(IMAGE_C)
    return results.ratio(seconds("push", what, DOCKER_REGISTRY), seconds("push", what, ATOLL))


def _memory(what: str) -> Callable[[Results], Spread | None]:
    return lambda results: results.spread(Series("memory", what, ATOLL, "MiB"))


def _far_pull(results: Results) -> Spread | None:
    what = pull_name(IMAGE_C)
    far, near = (seconds("far", far_name(what, delay), ATOLL) for delay in (DELAY, 0))
    return results.difference(far, near)


def _far_push(results: Results) -> Spread | None:
    return results.spread(seconds("far", far_name(push_name(IMAGE_C), DELAY), ATOLL))


def _start(results: Results) -> Spread | None:
    return results.spread(seconds("start", START, ATOLL))


_LARGE = large_shape(2048)
GOALS = (
    Goal(
        "manifest by tag",
        "x docker-registry",
        12,
        _rates("manifests", BY_TAG, DOCKER_REGISTRY),
        "7.0",
        least=True,
    ),
    Goal("manifest by tag", "x bare", 0.35, _rates("manifests", BY_TAG, BARE), "0.17", least=True),
    Goal(
        "manifest by digest",
        "x bare",
        0.45,
        _rates("manifests", BY_DIGEST, BARE),
        "0.24",
        least=True,
    ),
    Goal("blob, redirect", "x bare", 0.45, _rates("blobs", BLOB, BARE), "0.14", least=True),
    Goal(
        "blob, redirect",
        "x docker-registry",
        2.5,
        _rates("blobs", BLOB, DOCKER_REGISTRY),
        "0.89",
        least=True,
    ),
    Goal("token, password", "x before", 2, _tokens(PASSWORD_TOKEN), "1", least=True),
    Goal("token, anonymous", "x before", 2, _tokens(ANONYMOUS_TOKEN), "1", least=True),
    Goal(
        "push B, layers at once",
        "x limit",
        0.8,
        _of_limit("at-once", at_once_name(IMAGE_B)),
        "0.89",
    ),
    Goal("push B", "x limit", 1.25, _of_limit("push", push_name(IMAGE_B)), "1.42"),
    Goal("push C", "x limit", 1.8, _of_limit("push", push_name(IMAGE_C)), "2.43"),
    Goal(f"push {_LARGE.title}", "x limit", 1.25, _of_limit("large", push_name(_LARGE)), "1.54"),
    Goal("CPU per pushed GB, B", "x before", 0.5, _push_processor, "1"),
    Goal("pull C", "x docker-registry", 1, _pull, "0.97", least=True),
    Goal("memory idle, with worker", "MiB", 280, _memory(IDLE), "418"),
    Goal("memory after load, with worker", "MiB", 350, _memory(LOADED), "418"),
    Goal("start to the first 200", "s", 1, _start, "2.37"),
    Goal("pull C at 80 ms, over 0 ms, with FEATURE_TAG_CACHE", "s", 0.1, _far_pull, "0.28"),
    Goal("push C at 80 ms, with FEATURE_TAG_CACHE", "s", 7, _far_push, "12.4"),
)


@dataclass(frozen=True)
class Outcome:
    """What became of a goal.

    Attributes:
        goal: the goal.
        measured: the figure, None if it was not measured.
    """

    goal: Goal
    measured: Spread | None

    @property
    def met(self) -> str:
        """Whether the goal is met, in words."""
        if self.measured is None:
            return NOT_MEASURED
        return "yes" if self.goal.is_met(self.measured.median) else "no"


def evaluate(results: Results) -> list[Outcome]:
    """Return the outcome of each goal."""
    return [Outcome(goal, goal.measure(results)) for goal in GOALS]
