"""The map of sites: each site a card with its store and its hosts, and an arrow for its lag.

A line connects the sites. From it, an arrow leads to the card of each, with the copies that are
pending. In the card, the store stands beside its state as each site sees it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from atoll.web.panel.drawing import Box, Drawing, fitted
from atoll.web.panel.formats import duration, latency, size
from atoll.web.panel.sites import KINDS, Host, Site

# Widths of a map for wide, medium and narrow windows, with the columns that fit.
LAYOUTS = {"wide": (1168, 3), "medium": (720, 2), "narrow": (288, 1)}
# With this number of sites, rows of equal length look better than three columns.
_EVEN = 4
_GAP = 32
# The space left of the cards for the line that connects the rows.
_MARGIN = 22
_ARROW = 82
_BUS = 10.0
_HEAD, _LINE, _PADDING = 64, 22, 16
_STORE_WIDTH, _STORE_HEIGHT = 54, 66
# The distance of the arrow from the left side of a card: the middle of the store.
_ARROW_X = _PADDING + _STORE_WIDTH / 2
# Views of sites, and hosts, that a card lists; the tables below the map have all of them.
_VIEWS, _HOSTS = 6, 3
_HOST_HEIGHT = 38
_TEXT, _NAME = 13, 16


def draw_maps(sites: Sequence[Site], *, small: bool) -> dict[str, Drawing]:
    """Return the map for each name of LAYOUTS."""
    return {
        name: draw_map(sites, width, columns, small=small)
        for name, (width, columns) in LAYOUTS.items()
    }


def draw_map(sites: Sequence[Site], width: int, columns: int, *, small: bool) -> Drawing:
    """Return the map.

    Args:
        sites: The sites.
        width: The width in user units.
        columns: The most cards in a row.
        small: Whether cards have neither views of single sites nor hosts.
    """
    if len(sites) == _EVEN and columns > 2:  # noqa: PLR2004 - two rows of two
        columns = 2
    columns = min(columns, max(len(sites), 1))
    rows = [sites[start : start + columns] for start in range(0, len(sites), columns)]
    margin = _MARGIN if len(rows) > 1 else 0
    card = (width - margin - (columns - 1) * _GAP) / columns
    drawing, y, lines = Drawing(width), _BUS, []
    for row in rows:
        lines.append(y)
        height = max(_card_height(site, small=small) for site in row)
        last = margin + (len(row) - 1) * (card + _GAP) + _ARROW_X
        first = _MARGIN / 2 if margin else _ARROW_X
        drawing.path("map-line", f"M{first:g} {y:g}H{last:g}")
        for column, site in enumerate(row):
            x = margin + column * (card + _GAP)
            _draw_arrow(drawing, site, x, y, card)
            _draw_card(drawing, site, Box(x, y + _ARROW, card, height), small=small)
        y += _ARROW + height + _GAP
    if len(lines) > 1:
        drawing.path("map-line", f"M{_MARGIN / 2:g} {lines[0]:g}V{lines[-1]:g}")
    drawing.height = y - _GAP + 2
    return drawing


def _draw_arrow(drawing: Drawing, site: Site, x: float, y: float, card: float) -> None:
    middle, end = x + _ARROW_X, y + _ARROW - 3
    drawing.path(f"map-arrow map-{site.lag_kind}-arrow", f"M{middle:g} {y + 1:g}V{end - 8:g}")
    drawing.path(f"map-tip map-{site.lag_kind}-tip", f"M{middle - 6:g} {end - 9:g}h12l-6 9z")
    left, space = middle + 16, card - _ARROW_X - 16
    drawing.state(site.lag_kind, left, y + 19, 12)
    lines = _lag_lines(site)
    drawing.text("map-text map-strong", left + 18, y + 30, fitted(lines[0], space - 18, _TEXT))
    for number, line in enumerate(lines[1:], 1):
        drawing.text("map-text map-muted", left, y + 30 + number * 18, fitted(line, space, _TEXT))


def _lag_lines(site: Site) -> list[str]:
    one = site.location
    if one is None or not one["pending_blobs"]:
        return [site.lag_word]
    rate, left = one["bytes_per_second"], one["eta_seconds"]
    first = f"{one['pending_blobs']:,} blobs, {size(one['pending_bytes'])}"
    if one["failing_blobs"]:
        first = f"{site.lag_word}, {size(one['pending_bytes'])}"
    lines = [first, f"due for {duration(one['oldest_seconds'])}"]
    if rate and rate > 0 and left is not None:
        lines.append(f"{size(rate)}/s, {duration(left)} left")
    elif rate and rate < 0:
        lines.append(f"increases by {size(-rate)}/s")
    return lines


def _card_height(site: Site, *, small: bool) -> float:
    if small:
        return _HEAD + 4
    hosts = min(len(site.hosts), _HOSTS) + (len(site.hosts) > _HOSTS)
    return _HEAD + _body_height(site) + max(hosts, 1) * _HOST_HEIGHT + _PADDING + 4


def _body_height(site: Site) -> float:
    """Return the height of the store and of the views beside it."""
    views, rest = _shown_views(site)
    return max(_STORE_HEIGHT + 8, (len(views) + bool(rest)) * _LINE) + 2 * _PADDING - 8


def _draw_card(drawing: Drawing, site: Site, card: Box, *, small: bool) -> None:
    edge = Box(card.x + 0.5, card.y + 0.5, card.width - 1, card.height - 1)
    drawing.rect("map-card", edge, 10)
    left, right, space = (
        card.x + _PADDING,
        card.x + card.width - _PADDING,
        card.width - 2 * _PADDING,
    )
    state = site.location["state"] if site.location else "active"
    chip = 0.0 if state == "active" else len(state) * 7.2 + 16
    drawing.text("map-name", left, card.y + 28, fitted(site.name, space - chip - 8, _NAME))
    if chip:
        drawing.rect("map-chip", Box(right - chip, card.y + 13, chip, 21), 10.5)
        drawing.text("map-text map-muted", right - chip + 8, card.y + 28, state)
    drawing.state(site.kind, left, card.y + 39, 12)
    word = fitted(site.word, space - 18, _TEXT)
    drawing.text("map-text map-strong", left + 18, card.y + 50, word)
    if small:
        return
    _draw_store(drawing, site.kind, left, card.y + _HEAD + 4)
    beside, top = left + _STORE_WIDTH + 18, card.y + _HEAD + 17
    views, rest = _shown_views(site)
    for number, one in enumerate(views):
        _draw_view(drawing, one, beside, top + number * _LINE, right - beside)
    if rest:
        line = fitted(rest, right - beside, _TEXT)
        drawing.text("map-text map-muted", beside, top + len(views) * _LINE, line)
    _draw_hosts(drawing, site.hosts, left, card.y + _HEAD + _body_height(site), space)


def _draw_store(drawing: Drawing, kind: str, x: float, y: float) -> None:
    """Draw a store as a cylinder, with the shape of its state on it."""
    w, h, r = _STORE_WIDTH, _STORE_HEIGHT, 9
    half = w / 2
    body = f"M{x:g} {y + r:g}v{h - 2 * r}a{half:g} {r} 0 0 0 {w} 0v{-(h - 2 * r)}"
    drawing.path(f"map-store map-{kind}-store", f"{body}a{half:g} {r} 0 0 0 {-w} 0z")
    rim = f"M{x:g} {y + r:g}a{half:g} {r} 0 0 0 {w} 0"
    drawing.path(f"map-rim map-{kind}-store", rim)
    drawing.state(kind, x + half - 11, y + h / 2 - 3, 22)


def _draw_view(drawing: Drawing, one: dict[str, Any], x: float, y: float, space: float) -> None:
    drawing.state(KINDS[one["state"]], x, y - 10, 11)
    words, facts = f"from {one['site']}: {one['state']}", ""
    if one["state"] == "up" and one["latency_seconds"]:
        facts = f", {latency(one['latency_seconds'])}"
    elif one["state"] in ("down", "full", "read-only") and one["since"]:
        facts = f" since {one['since'][11:16]} UTC"
    if fitted(words + facts, space - 17, _TEXT) == words + facts:
        words += facts
    drawing.text("map-text", x + 17, y, fitted(words, space - 17, _TEXT))


def _draw_hosts(drawing: Drawing, hosts: Sequence[Host], x: float, y: float, space: float) -> None:
    drawing.path("map-divider", f"M{x:g} {y:g}h{space:g}")
    if not hosts:
        drawing.text("map-text map-muted", x, y + 26, "no instance runs here")
    for number, one in enumerate(hosts[:_HOSTS]):
        line = y + 24 + number * _HOST_HEIGHT
        drawing.state(one.kind, x, line - 10, 11)
        drawing.text("map-text", x + 17, line, fitted(one.name, space - 17, _TEXT))
        below = one.word if one.kind != "good" else ", ".join(one.roles)
        drawing.text("map-small map-muted", x + 17, line + 16, fitted(below, space - 17, 12))
    if len(hosts) > _HOSTS:
        rest = hosts[_HOSTS:]
        bad = sum(one.kind != "good" for one in rest)
        words = f"{len(rest)} more, {bad or 'all'} {'with problems' if bad else 'running'}"
        drawing.text("map-text map-muted", x, y + 24 + _HOSTS * _HOST_HEIGHT, words)


def _shown_views(site: Site) -> tuple[list[dict[str, Any]], str]:
    """Return the views that a card lists, the worst first if there are many, and the others."""
    views = site.location["sites"] if site.location else []
    if len(views) <= _VIEWS:
        return views, ""
    order = list(KINDS)
    views = sorted(views, key=lambda one: -order.index(one["state"]))
    shown, rest = views[: _VIEWS - 1], views[_VIEWS - 1 :]
    states = [state for state in order if any(one["state"] == state for one in rest)]
    counts = ", ".join(f"{sum(one['state'] == state for one in rest)} {state}" for state in states)
    return shown, f"and {counts} from other sites"
