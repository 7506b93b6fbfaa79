"""The page docs/reference/benchmarks.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from . import report
from .operations import ATOLL, BARE, DOCKER_REGISTRY, IDLE, LIMIT, LOADED
from .results import Results, Series

_INTRODUCTION = """\
# Benchmarks

This page is written by `make bench`, which measures Atoll beside Debian's docker-registry and the
limits of this machine. How it measures, and how to repeat it, is described in
[Measure the performance](../how-to/measure-performance.md). Rates depend on the machine; compare
only ratios.
"""
_RATIOS = """\
## Ratios

`x docker-registry` and `x bare`: Atoll's rate over theirs or, for pushes and pulls, their time
over Atoll's. `x limit`: Atoll's time over that of rclone's PUT and sha256sum of the same files; for
pulls, of rclone's GET. CPU: the processor time of the registry with nginx. Each is the median of
the ratios within each round. The number after a request is that of the connections.
"""
_GOALS = """\
## Goals

"Before" was recorded when the work on these goals began, on another day. "x before" is therefore
related to a program that both runs measured: tokens to the bare application, the processor time of
a push to that of sha256sum. With layers at once, the limit is not the least possible time, because
its two programs run one after the other.
"""
_CNCF = """\
CNCF distribution, the successor of docker-registry, is not packaged by Debian, so this benchmark
cannot measure it. It was recorded once, at its commit 0d6b721dc: 2.0 times docker-registry for
manifests by tag, 4.9 times for redirects of blobs, 1.2 to 1.3 times for pushes, and 1.0 to 1.1
times for pulls.
"""
_LIMITS = """\
## Limits of pushes

Seconds of rclone's PUT and of sha256sum. That of Debian 13 uses the processor's instructions for
SHA-256, and that of Debian 12 does not. The goals are defined with the sha256sum of the machine,
and were set on Debian 12; the last column has Atoll's time over the limit with that of Debian 13.
"""
_MEMORY = """\
## Memory by program

Proportional set size in MiB of all processes of a program. "registry" is the container of the
registry with its supervisor and its web processes, "worker" that of the replication worker.
"""
_DETAILS = """\
## Requests in detail

Medians, with the least and the greatest value. CPU in ms a request: the server with nginx, and the
services behind it.
"""


def render(results: Results) -> str:
    """Return the page in Markdown."""
    sections = [
        _INTRODUCTION,
        "## Machine\n",
        _table(("property", "value"), results.machine.items()),
        _GOALS,
        _table(("", "goal", "before", "now", "met"), report.goal_rows(results)),
        _RATIOS,
        _table(
            ("", "Atoll", "x docker-registry", "x bare", "x limit", "CPU"), _ratio_rows(results)
        ),
        _CNCF,
        _LIMITS,
        _table(
            ("", "PUT", "sha256sum of the machine", "sha256sum of Debian 13", "x limit with it"),
            _limit_rows(results),
        ),
        "## A site by itself\n",
        _table(("", "median", "range"), report.site_rows(results)),
        _MEMORY,
        _table(("program", "idle", "after load"), _memory_rows(results)),
        _DETAILS,
        _table(
            ("request", "server", "per second", "p50 ms", "p99 ms", "CPU", "CPU of services"),
            _request_rows(results),
        ),
    ]
    return "\n".join(sections)


def _ratio_rows(results: Results) -> Iterator[Sequence[str]]:
    for part, title in report.COMPARISONS.items():
        rows = report.comparisons(results, part)
        if rows:
            yield (f"**{title}**", "", "", "", "", "")
        for row in rows:
            yield (
                row.what,
                row.atoll,
                row.docker_registry,
                row.bare,
                row.limit,
                row.processor,
            )


def _limit_rows(results: Results) -> Iterator[Sequence[str]]:
    for part in ("push", "at-once", "large"):
        for what in results.operations(part):
            seconds = [
                report.number(results.spread(Series(part, what, LIMIT, figure)))
                for figure in ("put", "sha256sum", "fast sha256sum")
            ]
            if seconds[0] != report.NOTHING:
                fast = Series(part, what, LIMIT, "seconds with fast sha256sum")
                ratio = results.ratio(Series(part, what, ATOLL, "seconds"), fast)
                yield (what, *seconds, report.number(ratio))


def _memory_rows(results: Results) -> Iterator[Sequence[str]]:
    programs = dict.fromkeys(
        name
        for sample in results.samples
        if sample.part == "memory" and sample.target == ATOLL
        for name in sample.figures
        if name != "MiB"
    )
    for name in programs:
        states = (
            results.spread(Series("memory", what, ATOLL, name)) for what in (IDLE, LIMIT, LOADED)
        )
        yield (name, *(report.number(state) for state in states))


def _request_rows(results: Results) -> Iterator[Sequence[str]]:
    for part in ("manifests", "blobs", "tokens", "as-shipped"):
        for what in results.operations(part):
            for target in (ATOLL, DOCKER_REGISTRY, BARE):
                rate = results.spread(Series(part, what, target, "rate"))
                if rate is None:
                    continue
                title = f"{what} (Ceph's default)" if part == "as-shipped" else what
                figures = [
                    report.number(results.spread(Series(part, what, target, figure)))
                    for figure in ("p50", "p99", "cpu registry")
                ]
                services = _services(results, part, what, target)
                yield (title, target, report.spread_text(rate), *figures, services)


def _services(results: Results, part: str, what: str, target: str) -> str:
    """Return the processor time of the services behind a server that spend any."""
    found = []
    for service, title in (("postgresql", "PostgreSQL"), ("redis", "Redis"), ("store", "store")):
        spent = results.spread(Series(part, what, target, f"cpu {service}"))
        if spent is not None and spent.median >= 0.005:
            found.append(f"{title} {spent.median:.2f}")
    return ", ".join(found) or report.NOTHING


def _table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
