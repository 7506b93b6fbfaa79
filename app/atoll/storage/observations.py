"""The state of a store as one process observes it, in the format of heartbeats and of the API."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from atoll.storage.health import StoreHealth

# Probes that usually take longer make a store slow, in seconds.
_SLOW_SECONDS = 1.0
# Latencies are rounded up to these multiples of powers of ten, so that they rarely change.
_STEPS = (1, 2, 5, 10)


def observe_store(health: StoreHealth, location: str) -> dict[str, Any]:
    """Return the state of a store.

    Args:
        health: The states in the memory of this process.
        location: The location of the store.

    Returns:
        `up`: the store serves and accepts objects; None before the first probe.
        `serves`: it can be read from; None before the first probe.
        `cause`: why it is not up; None if it is.
        `since`: when `up` or `serves` last changed, as ISO 8601; None before the first probe.
        `latency_seconds`: the usual duration of a probe, rounded up to 1, 2 or 5 times a power of
        ten; None unless the store serves.
        `full`, `read_only`: it accepts no objects, because it has no space left or for any reason.
        `slow`: it serves, but requests or probes fail at times or take unusually long.
        `unresponsive`: it served a moment ago, and now answers neither probes nor requests.
    """
    state = health.state(location)
    since = health.since(location)
    usual = health.usual_seconds(location)
    serves = state.up is True
    return {
        "up": None if state.up is None else state.healthy,
        "serves": state.up,
        "cause": state.cause,
        "since": None if since is None else _text(since),
        "latency_seconds": rounded_up(usual) if serves and usual else None,
        "full": serves and state.full,
        "read_only": serves and state.read_only,
        "slow": serves and (health.in_doubt(location) or usual > _SLOW_SECONDS),
        "unresponsive": serves and health.unresponsive(location, write=False),
    }


def rounded_up(seconds: float) -> float:
    """Return a positive duration rounded up to 1, 2 or 5 times a power of ten, at least 1 ms."""
    unit = 0.001
    while True:
        for step in _STEPS:
            if seconds <= step * unit:
                return round(step * unit, 3)
        unit *= 10


def _text(since: float) -> str:
    return datetime.fromtimestamp(since, UTC).isoformat(timespec="seconds")
