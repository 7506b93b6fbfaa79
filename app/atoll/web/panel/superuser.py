"""`/superuser`: the health of all sites and stores."""

from __future__ import annotations

from typing import Any

from atoll.web.panel.page import page
from atoll.web.panel.visit import Visit


class SuperuserPage:
    """`/superuser`."""

    @page("superuser.html.j2")
    def on_get(self, visit: Visit) -> dict[str, Any]:
        """Show problems, sites, and each store as each instance sees it."""
        return {"health": visit.api("GET", "/superuser/health")}
