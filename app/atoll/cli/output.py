"""Results, notes, progress and prompts.

Results go to standard output; notes, progress and prompts to standard error. Names are never
truncated or broken: a table that is wider than the terminal is folded, and piped output is as wide
as it needs to be.
"""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.text import Text

from atoll.errors import UserError

Cell: TypeAlias = str | int | Text
Advance: TypeAlias = Callable[[int, int | None], None]

_GAP, _INDENT = "  ", "  "
_NUMBER = re.compile(r"\d+(\.\d+)? ?[A-Za-z]*")
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_DURATIONS = ((86400, "d"), (3600, "h"), (60, "m"))


def print_result(text: str) -> None:
    """Print a line of the result on standard output."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def print_json(document: Any) -> None:
    """Print the result as one line of JSON on standard output."""
    print_result(json.dumps(document))


def note(text: str) -> None:
    """Print a line that is not part of the result on standard error."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def print_items(title: str, items: Sequence[str], *, error: bool = False) -> None:
    """Print a title and indented items, wrapped between words if the output is a terminal.

    Args:
        title: the title.
        items: the items.
        error: whether to print on standard error.
    """
    file = sys.stderr if error else sys.stdout
    console = Console(file=file, highlight=False, emoji=False)
    console.print(Text(title, style="bold"), soft_wrap=True)
    width = console.width if console.is_terminal else sys.maxsize
    for item in items:
        wrapped = textwrap.wrap(
            item,
            width,
            initial_indent=_INDENT,
            subsequent_indent=_INDENT * 2,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for line in wrapped:
            console.print(Text(line), soft_wrap=True)


def print_table(
    headings: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    *,
    empty: str = "",
    to_stderr: bool = False,
) -> None:
    """Print a table.

    On a terminal that is too narrow, the first column gets a line of its own; if that is not
    enough, every cell does.

    Args:
        headings: one per column.
        rows: the cells; a column of numbers, sizes or durations is aligned to the right.
        empty: what to print instead of a table without rows.
        to_stderr: whether the table belongs to a message rather than to the result.
    """
    file = sys.stderr if to_stderr else sys.stdout
    if not rows:
        file.write(f"{empty}\n" if empty else "")
        return
    console = Console(file=file, highlight=False, emoji=False)
    table = _Table(headings, rows)
    for line in table.lines(console.width if console.is_terminal else sys.maxsize):
        console.print(line, soft_wrap=True)


class _Table:
    """Rows of aligned cells."""

    def __init__(self, headings: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
        self._headings = [Text(heading.upper(), style="bold") for heading in headings]
        self._rows = [[_as_text(cell) for cell in row] for row in rows]
        columns = list(zip(self._headings, *self._rows, strict=True))
        self._widths = [max(cell.cell_len for cell in column) for column in columns]
        self._numeric = [_is_numeric(column) for column in zip(*self._rows, strict=True)]

    def lines(self, width: int) -> Iterator[Text]:
        """Yield the table's lines, folded to fit WIDTH columns if possible."""
        if self._width(0) <= width:
            return self._flat()
        if len(self._headings) > 1 and len(_INDENT) + self._width(1) <= width:
            return self._folded()
        return self._blocks()

    def _width(self, first: int) -> int:
        width: int = sum(self._widths[first:])
        return width + len(_GAP) * (len(self._widths) - first - 1)

    def _flat(self) -> Iterator[Text]:
        for row in (self._headings, *self._rows):
            yield self._aligned(row, 0)

    def _folded(self) -> Iterator[Text]:
        for row in (self._headings, *self._rows):
            yield row[0]
            yield Text(_INDENT).append_text(self._aligned(row, 1))

    def _blocks(self) -> Iterator[Text]:
        width = max(heading.cell_len for heading in self._headings) + len(_GAP)
        for number, row in enumerate(self._rows):
            if number:
                yield Text()
            for heading, cell in zip(self._headings, row, strict=True):
                label = Text(f"{heading.plain}:".ljust(width), style="bold")
                yield Text().append_text(label).append_text(cell)

    def _aligned(self, row: list[Text], first: int) -> Text:
        """Return the cells of a row from column FIRST on as one line."""
        line, last = Text(), len(row) - 1
        for index in range(first, len(row)):
            cell = row[index]
            padding = " " * (self._widths[index] - cell.cell_len)
            if index > first:
                line.append(_GAP)
            if self._numeric[index]:
                line.append(padding)
            line.append_text(cell)
            if index < last and not self._numeric[index]:
                line.append(padding)
        return line


def _is_numeric(column: Sequence[Text]) -> bool:
    """Return whether a column holds numbers, sizes or durations."""
    given = [cell.plain for cell in column if cell.plain != "-"]
    return bool(given) and all(_NUMBER.fullmatch(cell) for cell in given)


def _as_text(cell: Cell) -> Text:
    return cell if isinstance(cell, Text) else Text(str(cell))


def alarm(text: str) -> Text:
    """Return a cell that stands out on a terminal."""
    return Text(text, style="bold red")


def size_text(size: int) -> str:
    """Return a number of bytes in a unit that is easy to read, such as `3.2 MiB`."""
    value = float(size)
    for unit in _UNITS:
        if value < 1024 or unit == _UNITS[-1]:  # noqa: PLR2004
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError(size)


def duration_text(seconds: float) -> str:
    """Return a duration in its largest unit, such as `12m`."""
    for length, unit in _DURATIONS:
        if seconds >= length:
            return f"{seconds / length:.0f}{unit}"
    return f"{seconds:.0f}s"


@contextmanager
def progress(label: str, *, show: bool = True) -> Iterator[Advance]:
    """Show a progress bar on standard error while the block runs, if that is a terminal.

    Yields:
        A function that takes the work done so far and the total, None if that is not known.
    """
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = Console(file=sys.stderr)
    visible = show and console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=not visible) as bar:
        task = bar.add_task(label, total=None)

        def advance(done: int, total: int | None) -> None:
            bar.update(task, completed=done, total=total)

        yield advance


def ask(question: str) -> str | None:
    """Ask on standard error, and return the answer without surrounding spaces.

    Returns:
        None at the end of the input: the operator pressed Ctrl-D, or the terminal was closed.

    Raises:
        UserError: standard input is not a terminal.
    """
    if not sys.stdin.isatty():
        raise UserError("standard input is not a terminal; confirm with --yes")
    sys.stderr.write(question)
    sys.stderr.flush()
    line = sys.stdin.readline()
    return line.strip() if line else None
