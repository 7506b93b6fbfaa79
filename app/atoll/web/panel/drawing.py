"""Drawings as SVG: shapes with classes, because the content policy forbids styles."""

from __future__ import annotations

from dataclasses import dataclass, field

# The width of a character of proportional text, as a part of the size of the text.
_CHARACTER = 0.52


@dataclass(frozen=True)
class Box:
    """A rectangle by its upper left corner, in user units."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Shape:
    """An element of a drawing.

    Attributes:
        element: `rect`, `path`, `text` or `use`.
        style: its classes.
        attributes: its geometry in user units.
        text: the content of a `text`.
    """

    element: str
    style: str
    attributes: dict[str, str]
    text: str = ""


@dataclass
class Drawing:
    """A drawing, to which shapes are added from back to front.

    Attributes:
        width: its width in user units, which is its natural width in CSS pixels.
        height: its height.
    """

    width: int
    height: float = 0
    shapes: list[Shape] = field(default_factory=list)

    def rect(self, style: str, box: Box, radius: float) -> None:
        """Add a rectangle with rounded corners."""
        self._add("rect", style, x=box.x, y=box.y, width=box.width, height=box.height, rx=radius)

    def path(self, style: str, data: str) -> None:
        """Add a path."""
        self.shapes.append(Shape("path", style, {"d": data}))

    def text(self, style: str, x: float, y: float, content: str) -> None:
        """Add a line of text that begins at x, with its baseline at y."""
        self._add("text", style, content, x=x, y=y)

    def state(self, kind: str, x: float, y: float, size: float) -> None:
        """Add the shape of a state with its upper left corner at x and y."""
        self._add("use", f"map-{kind}", x=x, y=y, width=size, height=size, href=f"#{kind}")

    def _add(self, element: str, style: str, /, content: str = "", **values: float | str) -> None:
        attributes = {
            name: f"{value:g}" if isinstance(value, int | float) else value
            for name, value in values.items()
        }
        self.shapes.append(Shape(element, style, attributes, content))


def fitted(text: str, width: float, size: float) -> str:
    """Return a text that fits into a width, shortened at its end if necessary.

    Args:
        text: The text.
        width: The width in user units.
        size: The size of the text in user units.
    """
    most = max(int(width / (size * _CHARACTER)), 2)
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"
