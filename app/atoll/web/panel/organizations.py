"""`/organization/`: the organizations of the caller."""

from __future__ import annotations

from typing import Any

from atoll.web.panel.page import page
from atoll.web.panel.visit import Visit


class OrganizationsPage:
    """`/organization/`."""

    @page("organizations.html.j2")
    def on_get(self, visit: Visit) -> dict[str, Any]:
        """Show the organizations that the caller is a member of."""
        return {"organizations": visit.api("GET", "/user")["organizations"]}
