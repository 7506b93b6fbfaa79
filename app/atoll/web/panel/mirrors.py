"""`/superuser/mirrors`: the mirrors of all namespaces, and the use of their upstreams."""

from __future__ import annotations

from typing import Any

from atoll.web.panel.page import page
from atoll.web.panel.visit import Visit

_MIRRORS = "/superuser/mirrors"
_ORGANIZATIONS, _UPSTREAMS = f"{_MIRRORS}/organizations", f"{_MIRRORS}/upstreams"
_ROWS = 50
# The statuses by which the lists are filtered.
_FILTERS = {
    "": "All",
    "FAIL": "Failed",
    "SYNCING": "Running",
    "SYNC_NOW": "Requested",
    "SUCCESS": "Succeeded",
    "NEVER_RUN": "Never run",
}


class MirrorsPage:
    """`/superuser/mirrors`."""

    @page("mirrors.html.j2")
    def on_get(self, visit: Visit) -> dict[str, Any] | None:
        """Show a page of each list."""
        lists: dict[str, Any] | None = visit.live(lambda: _lists(visit))
        return lists


def _lists(visit: Visit) -> dict[str, Any]:
    status = visit.req.get_param("status") or ""
    after = {
        name: visit.req.get_param(name) or None
        for name in ("mirrors_after", "organizations_after", "upstreams_after")
    }
    query = {"status": status or None, "limit": _ROWS}
    mirrors = visit.api("GET", _MIRRORS, query={**query, **_after(after["mirrors_after"])})
    organizations: dict[str, Any] = {"mirrors": []}
    if visit.calls.serves(_ORGANIZATIONS):
        query |= _after(after["organizations_after"])
        organizations = visit.api("GET", _ORGANIZATIONS, query=query)
    query = {"limit": _ROWS, **_after(after["upstreams_after"])}
    health = visit.api("GET", "/superuser/mirror/health")
    return {
        # Without the time of the check, which always differs.
        "health": {name: health[name] for name in ("workers", "repositories", "tags_pending")},
        "mirrors": mirrors,
        "organizations": organizations,
        "upstreams": visit.api("GET", _UPSTREAMS, query=query),
        "status": status,
        "filters": _FILTERS,
        "after": after,
    }


def _after(token: str | None) -> dict[str, str]:
    """Return the query of the page after a position."""
    return {"next_page": token} if token else {}
