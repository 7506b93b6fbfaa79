"""Sites as operators think of them: a store, the instances beside it, and what is copied there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# The colour and shape of a state, and the order of states from the best to the worst.
KINDS = {
    "up": "good",
    "unknown": "idle",
    "slow": "warn",
    "read-only": "warn",
    "full": "warn",
    "unresponsive": "bad",
    "down": "bad",
}


@dataclass(frozen=True)
class Host:
    """A host of a site with the instances that run there.

    Attributes:
        name: its name.
        roles: the roles of its instances.
        versions: their versions, usually one.
        kind: the kind of its state, see `components.html.j2`.
        word: its state in words.
    """

    name: str
    roles: list[str]
    versions: list[str]
    kind: str
    word: str


@dataclass(frozen=True)
class Site:
    """A location with its store, and the hosts that are nearest to it.

    Attributes:
        name: the name of the location.
        location: the location as of `superuser/health`; None if none is registered.
        hosts: the hosts of the site.
        kind: the kind of the state of the store, as the sites see it together.
        word: that state in words.
        lag_kind: the kind of the state of its copies.
        lag_word: that state in words.
    """

    name: str
    location: dict[str, Any] | None
    hosts: list[Host]
    kind: str
    word: str
    lag_kind: str
    lag_word: str


def sites_of(health: dict[str, Any]) -> list[Site]:
    """Return the sites in the order of the locations, from the document of `superuser/health`."""
    locations = {one["location"]: one for one in health["locations"]}
    instances: dict[str, list[dict[str, Any]]] = {name: [] for name in locations}
    for one in health["instances"]:
        instances.setdefault(one["preference"][0], []).append(one)
    return [_site(name, locations.get(name), found) for name, found in instances.items()]


def without_ages(health: dict[str, Any]) -> dict[str, Any]:
    """Return the document of `superuser/health` without the ages of heartbeats.

    Pages show them only of lost instances; otherwise each request would find a change.
    """
    instances = [
        {**one, "seen_seconds_ago": one["seen_seconds_ago"] if one["lost"] else 0.0}
        for one in health["instances"]
    ]
    return {**health, "instances": instances}


def _site(name: str, location: dict[str, Any] | None, instances: list[dict[str, Any]]) -> Site:
    kind, word = store_state(location["sites"]) if location else ("idle", "not registered")
    lag_kind, lag_word = _lag_state(location) if location else ("idle", "nothing is copied")
    return Site(name, location, _hosts(instances), kind, word, lag_kind, lag_word)


def store_state(views: Sequence[dict[str, Any]]) -> tuple[str, str]:
    """Return the kind and the words for a store, from what each site sees.

    Args:
        views: `sites` of a location, as of the API.
    """
    if not views:
        return "idle", "in no site's configuration"
    order = list(KINDS)
    worst = max((one["state"] for one in views), key=order.index)
    number = sum(one["state"] == worst for one in views)
    return KINDS[worst], f"{worst} {_seen_from(number, len(views))}"


def _seen_from(number: int, total: int) -> str:
    if total == 1:
        return "as its site sees it"
    return f"as all {total} sites see it" if number == total else f"for {number} of {total} sites"


def _lag_state(location: dict[str, Any]) -> tuple[str, str]:
    pending, failing = location["pending_blobs"], location["failing_blobs"]
    if failing:
        return "bad", f"{failing:,} of {pending:,} copies fail"
    if pending:
        return "busy", "copying"
    return "good", "complete"


def _hosts(instances: list[dict[str, Any]]) -> list[Host]:
    by_name: dict[str, list[dict[str, Any]]] = {}
    for one in instances:
        by_name.setdefault(one["hostname"], []).append(one)
    return [_host(name, found) for name, found in sorted(by_name.items())]


def _host(name: str, instances: list[dict[str, Any]]) -> Host:
    lost = [one["role"] for one in instances if one["lost"]]
    kind, word = "good", "running"
    if lost:
        kind, word = "bad", f"{', '.join(lost)} lost"
    elif any(one["drift"] for one in instances):
        kind, word = "warn", "configuration differs"
    return Host(
        name,
        sorted({one["role"] for one in instances}),
        sorted({one["version"] for one in instances}),
        kind,
        word,
    )
