"""The tables that are printed, at most 80 columns wide."""

from __future__ import annotations

from rich import box
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from . import report
from .goals import NOT_MEASURED
from .results import Results

_WIDTH = 80
_EXPLANATION = (
    "x dreg, x bare: Atoll's rate over that of docker-registry and of the bare application, or"
    " docker-registry's time over Atoll's. x limit: Atoll's time over that of rclone's PUT and"
    " sha256sum (pull: rclone's GET). CPU: of the registry with nginx. Medians of the ratios within"
    " each round; the numbers after the requests are connections."
)


def print_tables(results: Results, console: Console | None = None) -> None:
    """Print the ratios, the figures of a site, and the goals."""
    output = console or Console(width=_WIDTH, highlight=False)
    if any(report.comparisons(results, part) for part in report.COMPARISONS):
        output.print(Group(_ratios(results), Text(_EXPLANATION, style="dim")))
    if rows := report.site_rows(results):
        output.print(_site(rows))
    goals = [row for row in report.goal_rows(results) if row[-1] != NOT_MEASURED]
    if goals:
        output.print(_goals(goals))


def _ratios(results: Results) -> Table:
    table = _table("Ratios")
    table.add_column("", no_wrap=True, overflow="ellipsis")
    for heading in ("Atoll", "x dreg", "x bare", "x limit", "CPU"):
        table.add_column(heading, justify="right", no_wrap=True)
    for part, title in report.COMPARISONS.items():
        rows = report.comparisons(results, part)
        if rows:
            table.add_row(Text(title, style="bold"))
        for row in rows:
            table.add_row(
                f" {row.what}",
                row.atoll,
                row.docker_registry,
                row.bare,
                row.limit,
                row.processor,
            )
    return table


def _site(rows: list[tuple[str, str, str]]) -> Table:
    table = _table("A site")
    table.add_column("")
    table.add_column("median", justify="right", no_wrap=True)
    table.add_column("range", justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def _goals(rows: list[tuple[str, str, str, str, str]]) -> Table:
    table = _table("Goals")
    # These two wrap, so that the others fit into 80 columns.
    table.add_column("")
    table.add_column("goal")
    for heading in ("before", "now"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("met", no_wrap=True)
    for title, goal, before, now, met in rows:
        style = "green" if met == "yes" else "red"
        table.add_row(title, _short(goal), before, now, Text(met, style=style))
    return table


def _short(text: str) -> str:
    return text.replace("docker-registry", "dreg")


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
