"""The settings of an organization, and its deletion."""

from __future__ import annotations

from typing import Any

from atoll.web.api.errors import InvalidRequest
from atoll.web.panel.page import form, page
from atoll.web.panel.visit import Visit

_ORGANIZATION = "/organization/{orgname}"


class OrganizationSettings:
    """`/organization/{orgname}/settings`."""

    def __init__(self, expirations: list[int]) -> None:
        """Make the resource.

        Args:
            expirations: TAG_EXPIRATION_OPTIONS, in seconds.
        """
        self._expirations = sorted(expirations)

    @page("organization.html.j2")
    def on_get(self, visit: Visit, orgname: str) -> dict[str, Any]:
        """Show the tab `settings`."""
        return {
            "orgname": orgname,
            "tab": "settings",
            "administers": True,
            **self.variables(visit, orgname),
        }

    def variables(self, visit: Visit, orgname: str) -> dict[str, Any]:
        """Return the variables of `organization_settings.html.j2`.

        Raises:
            InsufficientScope: The caller neither administers the organization nor is an auditor.
        """
        one = visit.api("GET", _ORGANIZATION, orgname=orgname)
        auditor = visit.principal is not None and visit.principal.auditor
        if not (one["is_admin"] or auditor):
            raise visit.call.forbidden()
        changeable = one["is_admin"] and visit.may_change
        return {"one": one, "expirations": self._expirations, "changeable": changeable}

    @form()
    def on_post(self, visit: Visit, orgname: str) -> str:
        """Change the e-mail address, and for how long deleted tags are kept."""
        email, expiration = visit.form.get("email", "").strip(), visit.form.get("expiration")
        if not email and visit.api("GET", _ORGANIZATION, orgname=orgname)["email"]:
            raise InvalidRequest("The e-mail address can be replaced, but not removed.")
        body = {"email": email or None, "tag_expiration_s": expiration or None}
        visit.api("PUT", _ORGANIZATION, body=body, orgname=orgname)
        return f"/organization/{orgname}/settings"


class OrganizationDeletion:
    """`/organization/{orgname}/delete`."""

    @page("organization_delete.html.j2")
    def on_get(self, visit: Visit, orgname: str) -> dict[str, Any]:
        """Ask for the confirmation."""
        one = visit.api("GET", _ORGANIZATION, orgname=orgname)
        if not (one["is_admin"] and visit.may_change):
            raise visit.call.forbidden()
        return {"orgname": orgname}

    @form()
    def on_post(self, visit: Visit, orgname: str) -> str:
        """Delete the organization with its repositories."""
        visit.require_name("organization", orgname)
        visit.require_fresh_login()
        visit.api("DELETE", _ORGANIZATION, orgname=orgname)
        return "/organization/"
