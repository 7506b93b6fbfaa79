"""`/`: the first page."""

from __future__ import annotations

from typing import Any

from atoll.web.panel.live import LiveVersions
from atoll.web.panel.page import page
from atoll.web.panel.site_map import draw_maps
from atoll.web.panel.sites import sites_of, without_ages
from atoll.web.panel.visit import Visit

# Repositories of each list; the link below it leads to all. Messages, the latest.
_SHOWN = 12
_MESSAGES = 10


class Home:
    """`/`."""

    def __init__(self) -> None:
        self._versions = LiveVersions(without_ages)

    @page("home.html.j2", before_login=True)
    def on_get(self, visit: Visit) -> dict[str, Any] | None:
        """Show messages, and the caller's starred repositories or, to visitors, the public ones.

        Operators see the map of sites as well, the only part that is live.
        """
        operations = None
        if visit.operator:
            health = visit.live(
                lambda: visit.api("GET", "/superuser/health", query={"recent": True}),
                self._versions.of,
            )
            if health is None:
                return None
            sites = sites_of(health)
            maps = draw_maps(sites, small=True)
            operations = {"problems": health["problems"], "sites": sites, "maps": maps}
        if visit.principal is None and not visit.calls.anonymous:
            return {"messages": [], "repositories": None, "more": False, "operations": None}
        messages = visit.api("GET", "/messages")["messages"]
        selection = {"public": True} if visit.principal is None else {"starred": True}
        found = visit.api("GET", "/repository", query={**selection, "last_modified": True})
        repositories = found["repositories"]
        return {
            "messages": messages[-_MESSAGES:],
            "repositories": repositories[:_SHOWN],
            "more": len(repositories) > _SHOWN or "next_page" in found,
            "operations": operations,
        }
