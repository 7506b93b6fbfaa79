"""`/superuser/verification`: the scrub, runs of the verification, and wrong copies."""

from __future__ import annotations

from typing import Any

from atoll.web.panel.page import page
from atoll.web.panel.visit import Visit

_COPIES = 50


class VerificationPage:
    """`/superuser/verification`."""

    @page("verification.html.j2")
    def on_get(self, visit: Visit) -> dict[str, Any]:
        """Show the scrub of each location, the latest runs, and copies that are not trusted."""
        query = {"limit": _COPIES}
        return {"one": visit.api("GET", "/superuser/verification", query=query), "shown": _COPIES}
