"""Show progress on standard error: animated on a terminal, otherwise as lines."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn


class Step(Protocol):
    """A running step."""

    def show(self, detail: str) -> None:
        """Show the current activity of the step."""

    def show_briefly(self, detail: str) -> None:
        """Show a short activity, only on a terminal."""


class Steps:
    """The steps of a command, several of which may run concurrently."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._animation = Progress(
            SpinnerColumn(finished_text="✓"),
            TextColumn("{task.description}"),
            TextColumn("[dim]{task.fields[detail]}"),
            TimeElapsedColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )

    def __enter__(self) -> Self:
        """Start the display."""
        self._animation.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the display; the last state remains visible."""
        self._animation.stop()

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Show a step while the context is active."""
        began = time.monotonic()
        if self.console.is_terminal:
            task = self._animation.add_task(title, total=1, detail="")
            yield _AnimatedStep(self._animation, task)
            self._animation.update(task, completed=1, detail="")
            return
        self.console.print(f"{title} …", markup=False)
        yield _PlainStep(self.console, title)
        self.console.print(f"{title}: done after {time.monotonic() - began:.0f} s", markup=False)


class _AnimatedStep:
    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def show(self, detail: str) -> None:
        self._progress.update(self._task, detail=detail)

    show_briefly = show


class _PlainStep:
    def __init__(self, console: Console, title: str) -> None:
        self._console = console
        self._title = title

    def show(self, detail: str) -> None:
        self._console.print(f"{self._title}: {detail}", markup=False)

    def show_briefly(self, detail: str) -> None:
        pass
