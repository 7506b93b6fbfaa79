"""What every part of the benchmark gets: the servers, the options, and where results go."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from .arena import Arena
from .atoll_site import AtollSites
from .meter import Meter
from .operations import ATOLL
from .registry import Server
from .results import Results, Sample
from .rounds import alternate

_T = TypeVar("_T")


@dataclass
class Session:
    """One run of the benchmark.

    Attributes:
        arena: the network with its servers and programs.
        sites: starts sites of Atoll.
        results: where the samples go.
        rounds: the number of rounds.
        seconds: the duration of one measurement of requests.
        load_seconds: the duration of the load before memory is measured.
        large_mebibytes: the size of the large layer in MiB.
        show: shows the current activity.
    """

    arena: Arena
    sites: AtollSites
    results: Results
    rounds: int
    seconds: int
    load_seconds: int
    large_mebibytes: int
    show: Callable[[str], None]

    def meter(self, server: Server) -> Meter:
        """Return a meter for a server and for the services behind it."""
        groups = {"registry": server.containers, "store": [self.arena.store.container]}
        if server.name == ATOLL:
            groups |= {"postgresql": [self.arena.postgres], "redis": [self.arena.redis]}
        return Meter(groups)

    def record(
        self, part: str, what: str, target: str, number: int, figures: Mapping[str, float]
    ) -> None:
        """Add a sample to the results."""
        self.results.add(Sample(part, what, target, number, dict(figures)))

    def each_round(self, what: str, targets: Sequence[_T]) -> Iterator[tuple[int, list[_T]]]:
        """Yield the number of each round, and the targets in an order that alternates."""
        for number in range(self.rounds):
            self.show(f"{what}, round {number + 1} of {self.rounds}")
            yield number, alternate(targets, number)
