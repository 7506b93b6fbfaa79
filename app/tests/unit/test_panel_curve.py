"""Curves of lag have the time on their width and the bytes on their height."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from atoll.web.panel.curve import HEIGHT, WIDTH, Curve, lag_curve

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)


def sample(minutes_ago: float, size: int, seconds: float = 1) -> dict[str, Any]:
    at = NOW - timedelta(minutes=minutes_ago)
    return {"at": at.isoformat(), "blobs": 1, "bytes": size, "seconds": seconds}


def curve(*samples: dict[str, Any]) -> Curve:
    return lag_curve(samples, now=NOW, hours=1, interval=60)


def test_the_greatest_value_is_at_the_upper_edge() -> None:
    found = curve(sample(60, 0), sample(59, 50), sample(58, 100))
    assert found.lines == [f"0.0,{HEIGHT:.1f} 10.7,{HEIGHT / 2:.1f} 21.3,0.0"]
    assert found.most_bytes == 100


def test_time_without_samples_interrupts_the_curve() -> None:
    found = curve(sample(30, 1), sample(29, 1), sample(1, 1, seconds=9), sample(0, 1))
    assert len(found.lines) == len(found.areas) == 2
    assert found.lines[1].endswith(f"{WIDTH:.1f},0.0")
    assert found.most_seconds == 9


def test_an_area_is_closed_at_the_lower_edge() -> None:
    assert curve(sample(1, 1), sample(0, 1)).areas[0].endswith(f"{WIDTH:.1f},{HEIGHT:.1f}")


def test_samples_outside_of_the_period_stay_within_the_picture() -> None:
    assert curve(sample(61, 1), sample(60, 1)).lines[0].startswith("0.0,")


def test_no_samples_and_no_lag_have_a_curve() -> None:
    assert curve() == Curve([], [], 0, 0.0)
    assert curve(sample(1, 0), sample(0, 0)).lines[0].endswith(f"{WIDTH:.1f},{HEIGHT:.1f}")
