"""Mirrors are due at the start date plus a multiple of the interval, within permitted hours."""

from __future__ import annotations

from datetime import datetime

import pytest
from atoll.config.replication_limits import parse_hours
from atoll.mirroring.rules.schedule import Schedule
from hypothesis import given
from hypothesis import strategies as some

_HOUR = 3600


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-{text}:00+00:00")


@pytest.mark.parametrize(
    ("interval", "hours", "now", "expected"),
    [
        (_HOUR, None, "02-01T00:00", "03-01T10:00"),
        (_HOUR, None, "03-01T10:00", "03-01T11:00"),
        (_HOUR, None, "03-01T10:59", "03-01T11:00"),
        (24 * _HOUR, None, "05-07T12:30", "05-08T10:00"),
        (0, None, "03-01T10:00", None),
        (_HOUR, "22:00-06:00", "03-01T12:30", "03-01T22:00"),
        (_HOUR, "22:00-06:00", "03-01T23:30", "03-02T00:00"),
        (_HOUR, "22:00-06:00", "03-02T05:30", "03-02T22:00"),
        (_HOUR, "08:00-09:00", "03-01T12:30", "03-02T08:00"),
        # A date that was postponed is not omitted.
        (7 * 24 * _HOUR, "22:00-06:00", "03-08T15:00", "03-08T22:00"),
        (7 * 24 * _HOUR, "22:00-06:00", "03-08T22:05", "03-15T22:00"),
    ],
)
def test_the_next_date_is_on_the_grid(
    interval: int, hours: str | None, now: str, expected: str | None
) -> None:
    schedule = _schedule(interval, hours)
    assert schedule.after(at(now)) == (expected and at(expected))


def test_the_first_date_may_have_passed() -> None:
    now = at("03-05T12:00")
    assert _schedule(_HOUR).first(now) == at("03-01T10:00")
    assert _schedule(0).first(now) is None


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("02-01T12:00", "03-01T22:00"),
        ("03-05T12:00", "03-05T22:00"),
        ("03-05T23:30", "03-05T23:30"),
    ],
)
def test_the_first_date_is_within_permitted_hours(now: str, expected: str) -> None:
    assert _schedule(_HOUR, "22:00-06:00").first(at(now)) == at(expected)


@pytest.mark.parametrize(
    ("interval", "hours", "success", "expected"),
    [
        (_HOUR, None, "03-01T12:30", "03-01T14:30"),
        (60, None, "03-01T12:30", "03-01T12:40"),
        (_HOUR, "22:00-06:00", "03-02T00:30", "03-02T02:30"),
        (_HOUR, "22:00-06:00", "03-02T05:30", "03-02T23:00"),
        (60, "22:00-06:00", "03-02T05:59", "03-02T22:10"),
        # A whole period without a success.
        (_HOUR, "22:00-22:10", "03-01T22:05", "03-02T23:00"),
    ],
)
def test_time_outside_of_permitted_hours_does_not_make_a_mirror_overdue(
    interval: int, hours: str | None, success: str, expected: str
) -> None:
    assert _schedule(interval, hours).overdue_at(at(success)) == at(expected)


@given(some.integers(1, 10**7), some.integers(0, 10**9))
def test_dates_never_drift(interval: int, seconds: int) -> None:
    start = at("03-01T10:00")
    now = datetime.fromtimestamp(start.timestamp() + seconds, start.tzinfo)
    due = Schedule(start, interval).after(now)
    assert due is not None
    assert (due - start).total_seconds() % interval == 0
    assert 0 < (due - now).total_seconds() <= interval


def _schedule(interval: int, hours: str | None = None) -> Schedule:
    return Schedule(at("03-01T10:00"), interval, parse_hours(hours) if hours else None)
