"""`/organization/`: the organizations of the caller, and one organization with its teams."""

from __future__ import annotations

from typing import Any

from atoll.web.panel.log import log
from atoll.web.panel.page import page
from atoll.web.panel.visit import Visit


class OrganizationsPage:
    """`/organization/`."""

    @page("organizations.html.j2")
    def on_get(self, visit: Visit) -> dict[str, Any]:
        """Show the organizations that the caller is a member of."""
        return {"organizations": visit.api("GET", "/user")["organizations"]}


class OrganizationPage:
    """`/organization/{orgname}`."""

    @page("organization.html.j2")
    def on_get(self, visit: Visit, orgname: str) -> dict[str, Any]:
        """Show an organization and, to its members, the teams; or its log with `tab=logs`."""
        if visit.req.get_param("tab") == "logs":
            found = log(visit, "/organization/{orgname}/logs", orgname=orgname)
            path = f"/organization/{orgname}"
            return {"tab": "logs", "one": {"name": orgname}, "path": path, **found}
        return {"tab": "teams", "one": visit.api("GET", "/organization/{orgname}", orgname=orgname)}
