"""A server that fails is asked rarely."""

from __future__ import annotations

from atoll.breaker import Breaker


def fail(breaker: Breaker, times: int, now: float = 0.0) -> float:
    for _ in range(times):
        breaker.failed(now)
    return breaker.seconds(now)


def test_single_failures_do_not_pause_an_upstream() -> None:
    breaker = Breaker()
    for _ in range(10):
        assert fail(breaker, 4) == 0
        breaker.succeeded()


def test_pauses_double_until_the_upstream_responds() -> None:
    breaker = Breaker()
    assert fail(breaker, 5) == 10
    assert breaker.seconds(9) == 1
    assert breaker.seconds(10) == 0
    # Failures of requests that were in progress do not count.
    assert fail(breaker, 3, now=9) == 1
    now, pauses = 10.0, []
    for _ in range(7):
        pauses.append(fail(breaker, 1, now))
        now += pauses[-1]
    assert pauses == [20, 40, 80, 160, 300, 300, 300]
    breaker.succeeded()
    assert breaker.seconds(now) == 0
    assert fail(breaker, 4, now) == 0
