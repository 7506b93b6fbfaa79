"""The rate limiter delays callers to the configured rate."""

from __future__ import annotations

from atoll.rate_limit import RateLimiter


class Clock:
    """A clock that only `sleep` advances."""

    def __init__(self) -> None:
        self.now = 100.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_bytes_take_the_time_that_the_rate_implies() -> None:
    clock = Clock()
    limit = RateLimiter(1000, monotonic=lambda: clock.now, sleep=clock.sleep)
    for _ in range(5):
        limit.take(2000)
    assert clock.now == 110


def test_unused_capacity_does_not_accumulate() -> None:
    clock = Clock()
    limit = RateLimiter(1000, monotonic=lambda: clock.now, sleep=clock.sleep)
    clock.now += 60
    limit.take(3000)
    assert clock.now == 163


def test_an_unlimited_rate_never_waits() -> None:
    clock = Clock()
    RateLimiter(None, monotonic=lambda: clock.now, sleep=clock.sleep).take(10**12)
    assert clock.now == 100
