"""What a conversion does not take from a file, and what to do instead."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Place:
    """A place in a file.

    Attributes:
        file: the path of the file.
        line: the line, from 1; None for the file.
    """

    file: str
    line: int | None = None

    def __str__(self) -> str:
        return self.file if self.line is None else f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Finding:
    """One finding.

    Attributes:
        place: where it is.
        text: the subject, the difference, and the remedy.
    """

    place: Place
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"

    def as_dict(self) -> dict[str, Any]:
        """Return the finding for JSON."""
        return {**asdict(self.place), "message": self.text}


class Findings:
    """The findings of a conversion, in the order of the files.

    Attributes:
        problems: what the sites need and the inventory lacks.
        notes: what is different, or not taken without harm.
    """

    def __init__(self) -> None:
        self.problems: list[Finding] = []
        self.notes: list[Finding] = []

    def problem(self, place: Place, text: str) -> None:
        """Add a problem."""
        self.problems.append(Finding(place, text))

    def note(self, place: Place, text: str) -> None:
        """Add a note."""
        self.notes.append(Finding(place, text))
