"""`/superuser/garbage`: the stages of garbage collection."""

from __future__ import annotations

from typing import Any

from atoll.web.panel.page import page
from atoll.web.panel.visit import Visit


class GarbagePage:
    """`/superuser/garbage`."""

    @page("garbage.html.j2")
    def on_get(self, visit: Visit) -> dict[str, Any]:
        """Show what waits at each stage, and the objects to delete at each location."""
        return {"garbage": visit.api("GET", "/superuser/garbage")}
