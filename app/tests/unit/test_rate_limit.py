"""Bytes are taken no faster than the rate."""

from __future__ import annotations

from atoll.rate_limit import RateLimiter


class Clock:
    """Time that passes only in sleep."""

    def __init__(self) -> None:
        self.now = 100.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_bytes_take_as_long_as_the_rate_says() -> None:
    clock = Clock()
    limit = RateLimiter(1000, monotonic=lambda: clock.now, sleep=clock.sleep)
    for _ in range(5):
        limit.take(2000)
    assert clock.now == 110


def test_an_unused_rate_is_lost() -> None:
    clock = Clock()
    limit = RateLimiter(1000, monotonic=lambda: clock.now, sleep=clock.sleep)
    clock.now += 60
    limit.take(3000)
    assert clock.now == 163


def test_without_a_rate_there_is_no_wait() -> None:
    clock = Clock()
    RateLimiter(None, monotonic=lambda: clock.now, sleep=clock.sleep).take(10**12)
    assert clock.now == 100
