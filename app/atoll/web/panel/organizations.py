"""`/organization/`: the organizations of the caller, and one organization with its tabs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from atoll.web.api.errors import NotFound
from atoll.web.panel.default_permissions import default_permissions
from atoll.web.panel.log import log
from atoll.web.panel.page import page
from atoll.web.panel.robot_owner import RobotOwner
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
        """Show the teams of an organization, or the tab that the parameter `tab` names."""
        tab = visit.req.get_param("tab") or "teams"
        if tab not in _READERS:
            raise NotFound(f"the page of '{orgname[:200]}' has no tab '{tab[:100]}'")
        shown = _READERS[tab](visit, orgname)
        # The API returns the data of other tabs than the teams to administrators only.
        return {"orgname": orgname, "tab": tab, "administers": True, **shown}


def _teams(visit: Visit, orgname: str) -> dict[str, Any]:
    one = visit.api("GET", "/organization/{orgname}", orgname=orgname)
    auditor = visit.principal is not None and visit.principal.auditor
    return {
        "one": one,
        "administers": one["is_admin"] or auditor,
        "changeable": one["is_admin"] and visit.may_change,
    }


def _robots(visit: Visit, orgname: str) -> dict[str, Any]:
    owner = RobotOwner.of(visit, orgname, None)
    return {"owner": owner, "robots": owner.robots(visit)}


def _logs(visit: Visit, orgname: str) -> dict[str, Any]:
    found = log(visit, "/organization/{orgname}/logs", orgname=orgname)
    return {"path": f"/organization/{orgname}", **found}


_READERS: dict[str, Callable[[Visit, str], dict[str, Any]]] = {
    "teams": _teams,
    "robots": _robots,
    "permissions": default_permissions,
    "logs": _logs,
}
