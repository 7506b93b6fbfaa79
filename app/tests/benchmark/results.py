"""The measurements of a run, and the medians and ratios that follow from them."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Sample:
    """What one target achieved in one round.

    Attributes:
        part: the part of the benchmark.
        what: the measured operation.
        target: the measured program, such as "atoll".
        round: the number of the round; samples of the same round are compared with each other.
        figures: the values by name, in requests per second, seconds, milliseconds or MiB.
    """

    part: str
    what: str
    target: str
    round: int
    figures: dict[str, float]


@dataclass(frozen=True)
class Series:
    """One figure of one target in all rounds."""

    part: str
    what: str
    target: str
    figure: str


@dataclass(frozen=True)
class Spread:
    """The median of some values, with the least and the greatest of them."""

    median: float
    least: float
    greatest: float
    count: int

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        """Return the spread of at least one value."""
        return cls(statistics.median(values), min(values), max(values), len(values))

    def scaled(self, factor: float) -> Spread:
        """Return the spread of the values times a positive factor."""
        return Spread(factor * self.median, factor * self.least, factor * self.greatest, self.count)


@dataclass
class Results:
    """All samples of a run.

    Attributes:
        machine: the description of the machine, by property.
        samples: the samples in the order in which they were measured.
    """

    machine: dict[str, str] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)

    def add(self, sample: Sample) -> None:
        """Add a sample."""
        self.samples.append(sample)

    def parts(self) -> set[str]:
        """Return the parts that have samples."""
        return {sample.part for sample in self.samples}

    def operations(self, part: str) -> list[str]:
        """Return the operations of a part in the order in which they were first measured."""
        return list(dict.fromkeys(one.what for one in self.samples if one.part == part))

    def spread(self, series: Series) -> Spread | None:
        """Return the spread of a figure, None if it was not measured."""
        values = list(self._by_round(series).values())
        return Spread.of(values) if values else None

    def ratio(self, numerator: Series, denominator: Series) -> Spread | None:
        """Return the spread of the ratios of two figures within each round.

        Rounds in which only one of the two was measured, or the denominator is 0, do not count.
        None if there is no other round.
        """
        return self._pairs(numerator, denominator, lambda one, other: one / other, nonzero=True)

    def difference(self, minuend: Series, subtrahend: Series) -> Spread | None:
        """Return the spread of the differences of two figures within each round."""
        return self._pairs(minuend, subtrahend, lambda one, other: one - other)

    def _pairs(
        self, first: Series, second: Series, combine: Any, *, nonzero: bool = False
    ) -> Spread | None:
        ones, others = self._by_round(first), self._by_round(second)
        values = [
            combine(ones[number], others[number])
            for number in sorted(ones.keys() & others.keys())
            if others[number] or not nonzero
        ]
        return Spread.of(values) if values else None

    def _by_round(self, series: Series) -> dict[int, float]:
        return dict(self._values(series))

    def _values(self, series: Series) -> Iterator[tuple[int, float]]:
        wanted = (series.part, series.what, series.target)
        for sample in self.samples:
            if (sample.part, sample.what, sample.target) == wanted:
                value = sample.figures.get(series.figure)
                if value is not None:
                    yield sample.round, value

    def as_json(self) -> dict[str, Any]:
        """Return the results in a form that `from_json` reads."""
        return {"machine": self.machine, "samples": [asdict(sample) for sample in self.samples]}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Results:
        """Return results that were written as JSON."""
        return cls(dict(document["machine"]), [Sample(**one) for one in document["samples"]])
