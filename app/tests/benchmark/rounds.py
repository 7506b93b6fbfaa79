"""The order of measurements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

_T = TypeVar("_T")


def alternate(targets: Sequence[_T], number: int) -> list[_T]:
    """Return targets in the order of a round, so that each is first as often as the others."""
    first = number % len(targets)
    return [*targets[first:], *targets[:first]]
