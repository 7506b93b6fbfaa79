"""The rows of the tables: numbers as text, for the terminal and for the documentation."""

from __future__ import annotations

from dataclasses import dataclass

from .goals import evaluate
from .operations import ATOLL, BARE, DOCKER_REGISTRY, LIMIT
from .results import Results, Series, Spread

# The parts that compare rates or durations, with the heading of their rows.
COMPARISONS = {
    "manifests": "Manifests",
    "blobs": "Blobs",
    "tokens": "Tokens",
    "push": "Pushes and pulls with skopeo",
    "at-once": "Pushes, layers at once",
    "large": "A large layer",
    "as-shipped": "Ceph's default TCP settings",
}
SITE = ("start", "memory", "far")
NOTHING = "-"


@dataclass(frozen=True)
class Comparison:
    """A row that compares Atoll with others.

    Attributes:
        what: the operation.
        atoll: Atoll's rate or duration.
        docker_registry: how many times as fast as docker-registry Atoll is.
        bare: how many times as fast as the bare application Atoll is.
        limit: how many times as long as the limit Atoll takes.
        processor: the registry's processor time, in ms a request or s a GB.
    """

    what: str
    atoll: str
    docker_registry: str
    bare: str
    limit: str
    processor: str


def comparisons(results: Results, part: str) -> list[Comparison]:
    """Return the rows of a part, without those that have no figure of Atoll."""
    rows = [_comparison(results, part, what) for what in results.operations(part)]
    return [row for row in rows if row is not None]


def _comparison(results: Results, part: str, what: str) -> Comparison | None:
    def series(target: str, figure: str) -> Series:
        return Series(part, what, target, figure)

    processor = results.spread(series(ATOLL, "cpu registry"))
    if rate := results.spread(series(ATOLL, "rate")):
        own = series(ATOLL, "rate")
        # Only one operation of the bare application is measured with tokens.
        bare = results.ratio(own, series(BARE, "rate"))
        if part == "tokens":
            bare = results.ratio(own, Series(part, _bare_with_tokens(what), BARE, "rate"))
        return Comparison(
            what,
            f"{rate.median:,.0f}/s",
            number(results.ratio(own, series(DOCKER_REGISTRY, "rate"))),
            number(bare),
            NOTHING,
            f"{processor.median:.2f} ms" if processor else NOTHING,
        )
    if duration := results.spread(series(ATOLL, "seconds")):
        own = series(ATOLL, "seconds")
        return Comparison(
            what,
            f"{duration.median:.2f} s",
            number(results.ratio(series(DOCKER_REGISTRY, "seconds"), own)),
            NOTHING,
            number(results.ratio(own, series(LIMIT, "seconds"))),
            f"{processor.median:.1f} s/GB" if processor else NOTHING,
        )
    return None


def _bare_with_tokens(what: str) -> str:
    return f"GET manifest by tag,{what.rpartition(',')[2]}"


def site_rows(results: Results) -> list[tuple[str, str, str]]:
    """Return what was measured of a site by itself: the operation, the median, the range."""
    rows = []
    for part in SITE:
        for what in results.operations(part):
            for target in (ATOLL, DOCKER_REGISTRY):
                for figure in ("seconds", "seconds of process", "MiB"):
                    spread = results.spread(Series(part, what, target, figure))
                    if spread is not None:
                        title = _site_title(what, target, figure)
                        rows.append((title, _amount(spread, figure), _range(spread, figure)))
    return rows


def _site_title(what: str, target: str, figure: str) -> str:
    title = what if target == ATOLL else f"{what}, {target}"
    return f"{title}, from its first process" if figure == "seconds of process" else title


def _amount(spread: Spread, figure: str) -> str:
    return f"{spread.median:.0f} MiB" if figure == "MiB" else f"{spread.median:.2f} s"


def _range(spread: Spread, figure: str) -> str:
    digits = 0 if figure == "MiB" else 2
    return f"{spread.least:.{digits}f} to {spread.greatest:.{digits}f}"


def goal_rows(results: Results) -> list[tuple[str, str, str, str, str]]:
    """Return the goals: what, the goal, the figure before, the figure now, whether it is met."""
    return [
        (
            outcome.goal.title,
            outcome.goal.text,
            outcome.goal.before,
            number(outcome.measured),
            outcome.met,
        )
        for outcome in evaluate(results)
    ]


def number(spread: Spread | None) -> str:
    """Return a median with two or three digits."""
    if spread is None:
        return NOTHING
    return f"{spread.median:.0f}" if abs(spread.median) >= 100 else digits(spread.median)


def digits(value: float) -> str:
    """Return a number below 100 with as many decimals as it is worth."""
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def spread_text(spread: Spread | None) -> str:
    """Return a median with the least and the greatest value."""
    if spread is None:
        return NOTHING
    least, greatest = (Spread(one, one, one, 1) for one in (spread.least, spread.greatest))
    return f"{number(spread)} ({number(least)} to {number(greatest)})"
