"""Reading goes no faster than it was told to."""

from __future__ import annotations

from atoll.storage.read_limit import ReadLimit


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_bytes_take_as_long_as_the_rate_says() -> None:
    clock = Clock()
    limit = ReadLimit(1000, monotonic=lambda: clock.now, sleep=clock.sleep)
    for _ in range(5):
        limit.spend(2000)
    assert clock.now == 110


def test_a_pause_is_not_made_up_for() -> None:
    clock = Clock()
    limit = ReadLimit(1000, monotonic=lambda: clock.now, sleep=clock.sleep)
    clock.now += 60
    limit.spend(3000)
    assert clock.now == 163


def test_without_a_rate_nobody_waits() -> None:
    clock = Clock()
    ReadLimit(None, monotonic=lambda: clock.now, sleep=clock.sleep).spend(10**12)
    assert clock.now == 100
