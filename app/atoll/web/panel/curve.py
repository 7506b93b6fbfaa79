"""Curves as SVG: the geometry of a lag curve, without styles, which the content policy forbids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

WIDTH, HEIGHT = 640, 120
# A pause of more intervals than this has no samples, so the curve is interrupted.
_GAP_INTERVALS = 3


@dataclass(frozen=True)
class Curve:
    """A curve of bytes over time.

    Attributes:
        lines: The points of each uninterrupted part, as of a `polyline`.
        areas: The areas below them, as of a `polygon`.
        most_bytes: The value at the upper edge.
        most_seconds: The greatest age of a pending copy.
    """

    lines: list[str]
    areas: list[str]
    most_bytes: int
    most_seconds: float


def lag_curve(
    samples: Sequence[dict[str, Any]], *, now: datetime, hours: int, interval: int
) -> Curve:
    """Return the curve of the pending bytes of a location.

    Args:
        samples: The samples as of the API, in order of time.
        now: The time at the right edge.
        hours: The period.
        interval: The seconds between two samples.
    """
    most = max((one["bytes"] for one in samples), default=0)
    start = now - timedelta(hours=hours)
    parts: list[list[tuple[float, float]]] = []
    before: datetime | None = None
    for one in samples:
        at = datetime.fromisoformat(one["at"])
        x = min(max((at - start).total_seconds() / (hours * 3600), 0.0), 1.0) * WIDTH
        y = HEIGHT * (1 - one["bytes"] / most) if most else float(HEIGHT)
        if before is None or (at - before).total_seconds() > _GAP_INTERVALS * interval:
            parts.append([])
        parts[-1].append((x, y))
        before = at
    return Curve(
        [_text(part) for part in parts],
        [_text([(part[0][0], HEIGHT), *part, (part[-1][0], HEIGHT)]) for part in parts],
        most,
        max((one["seconds"] for one in samples), default=0.0),
    )


def _text(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
