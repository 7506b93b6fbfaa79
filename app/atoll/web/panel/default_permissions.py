"""Default permissions of an organization, which its new repositories get."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from atoll.web.panel.page import form, page
from atoll.web.panel.visit import Visit

_PROTOTYPES = "/organization/{orgname}/prototypes"


def default_permissions(visit: Visit, orgname: str) -> dict[str, Any]:
    """Return the variables of `organization_permissions.html.j2`."""
    return {"prototypes": visit.api("GET", _PROTOTYPES, orgname=orgname)["prototypes"]}


class NewDefaultPermission:
    """`/organization/{orgname}/new-permission`."""

    @page("permission_new.html.j2")
    def on_get(self, visit: Visit, orgname: str) -> dict[str, Any]:
        """Show the form."""
        visit.require_changes()
        # Only administrators may list default permissions.
        default_permissions(visit, orgname)
        return {"orgname": orgname}

    @form()
    def on_post(self, visit: Visit, orgname: str) -> str:
        """Create the default permission."""
        creator = visit.form.get("creator", "").strip()
        body = {
            "role": visit.form.get("role", ""),
            "activating_user": {"name": creator} if creator else None,
            "delegate": {
                "kind": visit.form.get("kind", ""),
                "name": visit.form.get("delegate", "").strip(),
            },
        }
        visit.api("POST", _PROTOTYPES, body=body, orgname=orgname)
        return _list(orgname)


class DefaultPermissionForm:
    """`/organization/{orgname}/permissions/{uuid}`."""

    @form()
    def on_post(self, visit: Visit, orgname: str, uuid: UUID) -> str:
        """Delete the default permission with the button `delete`, or change its role."""
        path = f"{_PROTOTYPES}/{{uuid}}"
        if "delete" in visit.form:
            visit.api("DELETE", path, orgname=orgname, uuid=uuid)
        else:
            body = {"role": visit.form.get("role", "")}
            visit.api("PUT", path, body=body, orgname=orgname, uuid=uuid)
        return _list(orgname)


def _list(orgname: str) -> str:
    return f"/organization/{orgname}?tab=permissions"
