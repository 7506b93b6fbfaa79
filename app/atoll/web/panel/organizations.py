"""`/organization/`: the organizations of the caller, and one organization with its tabs."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any

from atoll.web.api.errors import NotFound
from atoll.web.panel.applications import applications
from atoll.web.panel.default_permissions import default_permissions
from atoll.web.panel.log import log
from atoll.web.panel.organization_mirror import change_mirror, mirroring
from atoll.web.panel.organization_settings import OrganizationSettings
from atoll.web.panel.page import Shown, form, page
from atoll.web.panel.robot_owner import RobotOwner
from atoll.web.panel.visit import Visit

_TEMPLATE = "organization.html.j2"


class OrganizationsPage:
    """`/organization/`."""

    def __init__(self, *, superusers_only: bool) -> None:
        """Make the resource.

        Args:
            superusers_only: FEATURE_SUPERUSERS_ORG_CREATION_ONLY.
        """
        self._superusers_only = superusers_only

    @page("organizations.html.j2")
    def on_get(self, visit: Visit) -> dict[str, Any]:
        """Show the organizations that the caller is a member of, and the form of a new one."""
        return {
            "organizations": visit.api("GET", "/user")["organizations"],
            "creatable": visit.may_change
            and (visit.call.actor.superuser or not self._superusers_only),
            "new": "name" in visit.form or visit.req.get_param("new") == "true",
        }

    @form()
    def on_post(self, visit: Visit) -> str:
        """Create an organization."""
        name = visit.form.get("name", "").strip()
        body = {"name": name, "email": visit.form.get("email", "").strip() or None}
        visit.api("POST", "/organization/", body=body)
        return f"/organization/{name}"


class OrganizationPage:
    """`/organization/{orgname}`."""

    def __init__(self, settings: OrganizationSettings) -> None:
        self._readers = {**_READERS, "settings": settings.variables}

    @page(_TEMPLATE)
    def on_get(self, visit: Visit, orgname: str) -> dict[str, Any] | None:
        """Show the teams of an organization, or the tab that the parameter `tab` names."""
        tab = _tab(visit, orgname, self._readers)
        values = self._readers[tab](visit, orgname)
        return None if values is None else _shown(tab, orgname, values)

    @form()
    def on_post(self, visit: Visit, orgname: str) -> str | Shown:
        """Perform an action of a tab."""
        tab = _tab(visit, orgname, _FORMS)
        answer = _FORMS[tab](visit, orgname)
        if isinstance(answer, str):
            return answer
        return Shown(_TEMPLATE, _shown(tab, orgname, answer))


def _tab(visit: Visit, orgname: str, known: Container[str]) -> str:
    tab = visit.req.get_param("tab") or "teams"
    if tab not in known:
        raise NotFound(f"the page of '{orgname[:200]}' has no tab '{tab[:100]}'")
    return tab


def _shown(tab: str, orgname: str, values: dict[str, Any]) -> dict[str, Any]:
    # The API returns the data of other tabs than the teams to administrators only.
    return {"orgname": orgname, "tab": tab, "administers": True, **values}


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


_READERS: dict[str, Callable[[Visit, str], dict[str, Any] | None]] = {
    "teams": _teams,
    "robots": _robots,
    "permissions": default_permissions,
    "applications": applications,
    "logs": _logs,
    "mirroring": lambda visit, orgname: visit.live(lambda: mirroring(visit, orgname)),
}
_FORMS: dict[str, Callable[[Visit, str], str | dict[str, Any]]] = {"mirroring": change_mirror}
