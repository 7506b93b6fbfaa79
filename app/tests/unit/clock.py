"""A clock that only a test advances."""

from __future__ import annotations


class Clock:
    """A monotonic clock; `now` is its time in seconds."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the time in seconds."""
        return self.now
