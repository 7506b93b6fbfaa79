"""Combine what the instances of a site report about a store into the view of that site."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from atoll.cluster.instances import Instance

UP, SLOW, READ_ONLY, FULL, DOWN, UNKNOWN = "up", "slow", "read-only", "full", "down", "unknown"
UNRESPONSIVE = "unresponsive"
# From the best to the worst.
_ORDER = (UP, UNKNOWN, SLOW, READ_ONLY, FULL, UNRESPONSIVE, DOWN)

# Earlier versions do not report these.
_DEFAULTS: Mapping[str, Any] = {
    "serves": None,
    "since": None,
    "latency_seconds": None,
    "full": None,
    "read_only": None,
    "slow": None,
    "unresponsive": None,
}


@dataclass(frozen=True)
class SiteView:
    """A store as the instances of a site see it. If they differ, the worst state counts.

    Attributes:
        site: the nearest location of the instances.
        state: `up`, `slow`, `read-only`, `full`, `unresponsive` while probes have no answer,
            `down` after they failed, or `unknown` before the first probe and while no instance of
            the site runs.
        since: when the store changed to that state or, if `slow` or `unresponsive`, when it was
            last unavailable; ISO 8601, None if unknown.
        latency_seconds: the longest usual duration of a probe, rounded up; None unless the store
            serves.
        cause: why it is not up; None if it is.
        instances: the instances that see that state, with `of_instances` running ones of the site.
    """

    site: str
    state: str
    since: str | None
    latency_seconds: float | None
    cause: str | None
    instances: int
    of_instances: int


def report_of(instance: Instance, location: str) -> dict[str, Any]:
    """Return what an instance reports about a store, with None for what its version lacks."""
    return {**_DEFAULTS, **instance.stores[location]}


def state_of(report: Mapping[str, Any]) -> str:
    """Return the state that an instance reports in one word, see `SiteView.state`."""
    serves = report["serves"] if report["serves"] is not None else report["up"]
    if serves is None:
        return UNKNOWN
    if not serves:
        return DOWN
    if report["unresponsive"]:
        return UNRESPONSIVE
    if not report["up"]:
        return FULL if report["full"] else READ_ONLY
    return SLOW if report["slow"] else UP


def site_views(instances: Sequence[Instance], location: str) -> list[SiteView]:
    """Return the view of each site whose instances have a location in their configuration."""
    reporting: dict[str, list[Instance]] = {}
    for one in instances:
        if location in one.stores:
            reporting.setdefault(one.preference[0], []).append(one)
    return [_site_view(site, found, location) for site, found in sorted(reporting.items())]


def _site_view(site: str, instances: Sequence[Instance], location: str) -> SiteView:
    running = [report_of(one, location) for one in instances if not one.lost]
    if not running:
        return SiteView(site, UNKNOWN, None, None, "no instance of the site runs", 0, 0)
    states = [state_of(one) for one in running]
    worst = max(states, key=_ORDER.index)
    agreeing = [report for report, state in zip(running, states, strict=True) if state == worst]
    return SiteView(
        site,
        worst,
        min((one["since"] for one in agreeing if one["since"]), default=None),
        max((one["latency_seconds"] for one in agreeing if one["latency_seconds"]), default=None),
        next((str(one["cause"]) for one in agreeing if one["cause"]), None),
        len(agreeing),
        len(running),
    )
