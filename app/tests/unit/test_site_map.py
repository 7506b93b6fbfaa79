"""The map of sites: every fact of a site is on it in words, and nothing is cut off."""

from __future__ import annotations

from typing import Any

import pytest
from atoll.web.panel.drawing import Drawing, fitted
from atoll.web.panel.site_map import LAYOUTS, draw_map, draw_maps
from atoll.web.panel.sites import Site, sites_of, store_state, without_ages

SIZES = {"map-name": 16, "map-small": 12}


def view(site: str, state: str = "up", **changes: Any) -> dict[str, Any]:
    return {
        "site": site,
        "state": state,
        "since": "2030-01-02T03:04:05+00:00",
        "latency_seconds": 0.05,
        "cause": None,
        "instances": 1,
        "of_instances": 1,
        **changes,
    }


def location(name: str, views: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    return {
        "location": name,
        "state": "active",
        "pending_blobs": 0,
        "pending_bytes": 0,
        "oldest_seconds": 0.0,
        "failing_blobs": 0,
        "last_error": None,
        "bytes_per_second": None,
        "eta_seconds": None,
        "sites": views,
        **changes,
    }


def instance(site: str, **changes: Any) -> dict[str, Any]:
    return {
        "hostname": f"{site}-1.example.com",
        "role": "registry",
        "preference": [site],
        "version": "1.0",
        "drift": [],
        "lost": False,
        "seen_seconds_ago": 3.0,
        **changes,
    }


def registry(number: int, **changes: Any) -> dict[str, Any]:
    """Return the health of a registry with a number of sites; `changes` are those of the first."""
    names = [f"site-{one}" for one in range(number)]
    locations = [location(name, [view(other) for other in names]) for name in names]
    locations[:1] = [{**locations[0], **changes}]
    return {"locations": locations, "instances": [instance(name) for name in names]}


def texts(drawing: Drawing) -> list[str]:
    return [shape.text for shape in drawing.shapes if shape.element == "text"]


def drawn(sites: list[Site]) -> list[str]:
    return texts(draw_map(sites, *LAYOUTS["wide"], small=False))


def test_a_card_has_the_store_as_each_site_sees_it() -> None:
    views = [view("us"), view("eu", "down"), view("ap", "slow")]
    found = drawn(sites_of({"locations": [location("us", views)], "instances": []}))
    assert "down for 1 of 3 sites" in found
    assert "from us: up, 50 ms" in found
    assert "from eu: down since 03:04 UTC" in found
    assert "from ap: slow" in found


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([], ("idle", "in no site's configuration")),
        (["up"], ("good", "up as its site sees it")),
        (["up", "up"], ("good", "up as all 2 sites see it")),
        (["up", "slow", "full"], ("warn", "full for 1 of 3 sites")),
        (["up", "full", "unresponsive"], ("bad", "unresponsive for 1 of 3 sites")),
        (["down", "down"], ("bad", "down as all 2 sites see it")),
        (["unknown", "up"], ("idle", "unknown for 1 of 2 sites")),
    ],
)
def test_the_worst_state_of_a_store_counts(states: list[str], expected: tuple[str, str]) -> None:
    assert store_state([view(str(n), state) for n, state in enumerate(states)]) == expected


def test_an_arrow_has_the_lag_the_rate_and_the_time_left() -> None:
    pending = {"pending_blobs": 1204, "pending_bytes": 3 * 2**30, "oldest_seconds": 300.0}
    rate = {"bytes_per_second": 12.0 * 2**20, "eta_seconds": 256.0}
    found = drawn(sites_of(registry(2, **pending, **rate)))
    assert "1,204 blobs, 3.0 GiB" in found
    assert "due for 5 min" in found
    assert "12 MiB/s, 4 min 16 s left" in found
    assert "complete" in found
    growing = drawn(sites_of(registry(2, **pending, bytes_per_second=-(2.0**20))))
    assert "increases by 1.0 MiB/s" in growing
    failing = drawn(sites_of(registry(2, **pending, failing_blobs=7)))
    assert "7 of 1,204 copies fail, 3.0 GiB" in failing


def test_a_card_has_the_hosts_of_the_site_and_their_faults() -> None:
    health = registry(1)
    health["instances"] += [
        instance("site-0", role="mirror", lost=True),
        instance("site-0", hostname="b.example.com", drift=["DATABASE"]),
        instance("site-0", hostname="c.example.com"),
        instance("site-0", hostname="d.example.com", drift=["DATABASE"]),
    ]
    (site,) = sites_of(health)
    assert [(one.name, one.kind, one.word) for one in site.hosts] == [
        ("b.example.com", "warn", "configuration differs"),
        ("c.example.com", "good", "running"),
        ("d.example.com", "warn", "configuration differs"),
        ("site-0-1.example.com", "bad", "mirror lost"),
    ]
    found = drawn([site])
    assert "configuration differs" in found
    assert "1 more, 1 with problems" in found


def test_a_site_without_a_location_and_a_location_without_a_site_are_shown() -> None:
    health = {"locations": [location("cold", [])], "instances": [instance("new")]}
    cold, new = sites_of(health)
    assert (cold.name, cold.hosts, cold.word) == ("cold", [], "in no site's configuration")
    assert (new.name, new.location, new.word) == ("new", None, "not registered")
    assert {"no instance runs here", "not registered"} <= set(drawn([cold, new]))


def test_of_many_sites_the_worst_views_are_listed_and_the_others_counted() -> None:
    views = [view(f"s{one}") for one in range(49)] + [view("z", "down")]
    found = drawn(sites_of({"locations": [location("us", views)], "instances": []}))
    assert "from z: down since 03:04 UTC" in found
    assert "and 45 up from other sites" in found


@pytest.mark.parametrize("number", [1, 2, 3, 4, 7, 50])
@pytest.mark.parametrize("small", [True, False])
def test_everything_is_inside_the_drawing(number: int, *, small: bool) -> None:
    health = registry(number, state="draining", pending_blobs=10**6, pending_bytes=10**14)
    health["instances"] += [
        instance("site-0", hostname=f"a-very-long-name-{n}.{'x' * 200}.example") for n in range(9)
    ]
    for drawing in draw_maps(sites_of(health), small=small).values():
        for shape in drawing.shapes:
            at = {name: float(shape.attributes.get(name, 0)) for name in ("x", "y")}
            size = next((one for style, one in SIZES.items() if style in shape.style), 13)
            width = float(shape.attributes.get("width", len(shape.text) * size * 0.52))
            assert 0 <= at["x"] <= at["x"] + width <= drawing.width + 0.1, shape
            assert at["y"] + float(shape.attributes.get("height", 0)) <= drawing.height, shape


def test_a_text_is_shortened_to_the_space_it_has() -> None:
    assert fitted("registry", 100, 13) == "registry"
    assert fitted("a-host-with-a-long-name", 60, 13) == "a-host-…"


def test_ages_of_heartbeats_of_running_instances_are_no_change() -> None:
    running, lost = registry(1), registry(1)
    for health, age in ((running, 1.0), (lost, 100.0)):
        health["instances"] = [instance("site-0", seen_seconds_ago=age)]
    assert without_ages(running) == without_ages(lost)
    lost["instances"][0]["lost"] = True
    assert without_ages(running) != without_ages(lost)
