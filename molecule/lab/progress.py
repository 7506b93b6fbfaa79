"""Show what goes on, on standard error: moving on a terminal, line after line elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn


class Step(Protocol):
    """A step that goes on."""

    def say(self, detail: str) -> None:
        """Show what the step does now."""

    def mention(self, detail: str) -> None:
        """Show it only where it can be replaced by what comes next."""


class Steps:
    """The steps of a command; several may go on at once."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._moving = Progress(
            SpinnerColumn(finished_text="✓"),
            TextColumn("{task.description}"),
            TextColumn("[dim]{task.fields[detail]}"),
            TimeElapsedColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )

    def __enter__(self) -> Self:
        """Begin to show."""
        self._moving.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave on the screen what was shown last."""
        self._moving.stop()

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Show one step from its beginning to its end."""
        began = time.monotonic()
        if self.console.is_terminal:
            task = self._moving.add_task(title, total=1, detail="")
            yield _MovingStep(self._moving, task)
            self._moving.update(task, completed=1, detail="")
            return
        self.console.print(f"{title} …", markup=False)
        yield _PlainStep(self.console, title)
        self.console.print(f"{title}: done in {time.monotonic() - began:.0f} s", markup=False)


class _MovingStep:
    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def say(self, detail: str) -> None:
        self._progress.update(self._task, detail=detail)

    mention = say


class _PlainStep:
    def __init__(self, console: Console, title: str) -> None:
        self._console = console
        self._title = title

    def say(self, detail: str) -> None:
        self._console.print(f"{self._title}: {detail}", markup=False)

    def mention(self, detail: str) -> None:
        pass
