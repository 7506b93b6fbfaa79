"""`/superuser`: the map of sites, and problems that need an operator."""

from __future__ import annotations

from typing import Any

from atoll.web.panel.live import LiveVersions
from atoll.web.panel.page import page
from atoll.web.panel.site_map import draw_maps
from atoll.web.panel.sites import sites_of, without_ages
from atoll.web.panel.visit import Visit


class SuperuserPage:
    """`/superuser`."""

    def __init__(self) -> None:
        self._versions = LiveVersions(without_ages)

    @page("superuser.html.j2")
    def on_get(self, visit: Visit) -> dict[str, Any] | None:
        """Show problems, the map of sites, and tables of locations and instances."""
        health = visit.live(
            lambda: visit.api("GET", "/superuser/health", query={"recent": True}),
            self._versions.of,
        )
        if health is None:
            return None
        sites = sites_of(health)
        return {"health": health, "sites": sites, "maps": draw_maps(sites, small=False)}
