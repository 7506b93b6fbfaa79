"""A circuit breaker: a server that fails is asked rarely until it responds again."""

from __future__ import annotations

# Failures in a row after which requests are paused, and the seconds of the first and longest pause.
_THRESHOLD = 5
_FIRST, _LONGEST = 10.0, 300.0


class Breaker:
    """Counts failures in a row; not thread-safe.

    The state is that of one process, not of all sites: a server that one site cannot reach may
    respond to another.
    """

    def __init__(self, *, longest: float = _LONGEST) -> None:
        """Make a closed breaker.

        Args:
            longest: The seconds of the longest pause.
        """
        self._longest = longest
        self._failures = 0
        self._pauses = 0
        self._open_until = 0.0

    def seconds(self, now: float) -> float:
        """Return the seconds until requests may be sent; 0 if they may be sent now."""
        return max(self._open_until - now, 0.0)

    def succeeded(self) -> None:
        """Record a response."""
        self._failures = 0
        self._pauses = 0
        self._open_until = 0.0

    def failed(self, now: float) -> None:
        """Record a failure. After a pause, one failure starts a longer one."""
        self._failures += 1
        is_open = now < self._open_until
        if is_open or (not self._pauses and self._failures < _THRESHOLD):
            return
        self._open_until = now + min(_FIRST * 2.0**self._pauses, self._longest)
        self._pauses = min(self._pauses + 1, 20)
