"""The settings of a repository: description, permissions, visibility, state and deletion."""

from __future__ import annotations

from typing import Any

from atoll.auth.access import ADMIN, MIRROR, NORMAL
from atoll.auth.permissions import TEAM, USER
from atoll.web.api.errors import InvalidRequest
from atoll.web.panel.page import form, page
from atoll.web.panel.repository_tab import TEMPLATE, shown
from atoll.web.panel.visit import Visit

_REPOSITORY = "/repository/{repository}"
_CHANGE = "repository_change.html.j2"
_READ_ONLY = "READ_ONLY"
PUBLIC, PRIVATE = "public", "private"


def information(visit: Visit) -> dict[str, Any]:
    """Return the attributes of a repository, which readers see and writers describe."""
    return {"repository": visit.api("GET", _REPOSITORY, query={"includeTags": False})}


def settings(visit: Visit) -> dict[str, Any]:
    """Return the permissions on a repository, and the states that it can have."""
    permissions = [
        {**one, "delegate_kind": kind}
        for kind in (TEAM, USER)
        for one in visit.api("GET", f"{_REPOSITORY}/permissions/{kind}/")["permissions"].values()
    ]
    mirrors = visit.calls.serves(f"{_REPOSITORY}/mirror")
    states = [NORMAL, _READ_ONLY, *([MIRROR] if mirrors else [])]
    return {"permissions": permissions, "states": states}


class DescriptionForm:
    """`/repository/{repository}/settings/description`."""

    @page(TEMPLATE)
    def on_get(self, visit: Visit) -> dict[str, Any]:
        """Show the tab with the form."""
        return shown(visit, "information", information(visit))

    @form()
    def on_post(self, visit: Visit) -> str:
        """Change the description."""
        description = visit.form.get("description", "").replace("\r\n", "\n")
        visit.api("PUT", _REPOSITORY, body={"description": description})
        return f"{_path(visit)}?tab=information"


class _SettingsForm:
    """Base of the forms in the tab `settings`."""

    @page(TEMPLATE)
    def on_get(self, visit: Visit) -> dict[str, Any]:
        """Show the tab with the form."""
        return shown(visit, "settings", settings(visit))


class PermissionForm(_SettingsForm):
    """`/repository/{repository}/settings/permission`."""

    @form()
    def on_post(self, visit: Visit) -> str:
        """Grant a role to a user, robot or team, or revoke it with the button `revoke`."""
        kind, delegate = visit.form.get("kind"), visit.form.get("delegate", "").strip()
        if kind not in {USER, TEAM} or not delegate:
            raise InvalidRequest("Enter the name of a user, robot or team.")
        path = f"{_REPOSITORY}/permissions/{kind}/{{delegate}}"
        if "revoke" in visit.form:
            visit.api("DELETE", path, delegate=delegate)
        else:
            visit.api("PUT", path, body={"role": visit.form.get("role", "")}, delegate=delegate)
        return f"{_path(visit)}?tab=settings"


class StateForm(_SettingsForm):
    """`/repository/{repository}/settings/state`."""

    @form()
    def on_post(self, visit: Visit) -> str:
        """Change the state, which permits or forbids pushes."""
        body = {"state": visit.form.get("state", "")}
        visit.api("PUT", f"{_REPOSITORY}/changestate", body=body)
        return f"{_path(visit)}?tab=settings"


class VisibilityForm:
    """`/repository/{repository}/settings/visibility`."""

    @page(_CHANGE)
    def on_get(self, visit: Visit) -> dict[str, Any]:
        """Ask for the confirmation of the other visibility."""
        name = visit.call.require(ADMIN)
        grant = visit.call.grant
        other = PRIVATE if grant is not None and grant.public else PUBLIC
        return {"name": name, "change": "visibility", "visibility": other}

    @form()
    def on_post(self, visit: Visit) -> str:
        """Make the repository public or private; the password is needed to publish it."""
        visit.call.require(ADMIN)
        visibility = visit.form.get("visibility", "")
        if visibility == PUBLIC:
            visit.require_fresh_login()
        visit.api("POST", f"{_REPOSITORY}/changevisibility", body={"visibility": visibility})
        return f"{_path(visit)}?tab=settings"


class DeletionForm:
    """`/repository/{repository}/settings/delete`."""

    @page(_CHANGE)
    def on_get(self, visit: Visit) -> dict[str, Any]:
        """Ask for the name of the repository and for the password."""
        return {"name": visit.call.require(ADMIN), "change": "delete", "visibility": None}

    @form()
    def on_post(self, visit: Visit) -> str:
        """Delete the repository."""
        name = visit.call.require(ADMIN)
        visit.require_name("repository", str(name))
        visit.require_fresh_login()
        visit.api("DELETE", _REPOSITORY)
        return "/repository/"


def _path(visit: Visit) -> str:
    return f"/repository/{visit.call.grant.repository}" if visit.call.grant else "/repository/"
