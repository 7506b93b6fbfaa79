"""`/superuser/organizations`: the organizations of the registry, and changes of one of them."""

from __future__ import annotations

from typing import Any

from atoll.web.api.errors import NotFound
from atoll.web.panel.account_list import account_list
from atoll.web.panel.operator_rights import require_operator
from atoll.web.panel.page import form, page
from atoll.web.panel.visit import Visit

_ORGANIZATIONS = "/superuser/organizations"
_ORGANIZATION = f"{_ORGANIZATIONS}/{{orgname}}"
_CHANGES = frozenset({"email", "name", "ownership", "delete"})
# Changes that need a fresh login, and the name of the organization typed.
_DANGEROUS = _CHANGES - {"email"}


class ManagedOrganizationsPage:
    """`/superuser/organizations`."""

    @page("managed_organizations.html.j2")
    def on_get(self, visit: Visit) -> dict[str, Any]:
        """List the organizations."""
        return account_list(visit, _ORGANIZATIONS)


class ManagedOrganizationPage:
    """`/superuser/organizations/{orgname}`."""

    @page("managed_organization.html.j2")
    def on_get(self, visit: Visit, orgname: str) -> dict[str, Any]:
        """Show an organization."""
        return {"one": visit.api("GET", _ORGANIZATION, orgname=orgname)}


class OrganizationChangeForm:
    """`/superuser/organizations/{orgname}/{change}`."""

    @page("managed_organization_change.html.j2")
    def on_get(self, visit: Visit, orgname: str, change: str) -> dict[str, Any]:
        """Show the form of a change."""
        _check(visit, change)
        return {
            "one": visit.api("GET", _ORGANIZATION, orgname=orgname),
            "change": change,
            "dangerous": change in _DANGEROUS,
        }

    @form()
    def on_post(self, visit: Visit, orgname: str, change: str) -> str:
        """Change the organization."""
        _check(visit, change)
        if change in _DANGEROUS:
            visit.require_name("confirmation", orgname)
            visit.require_fresh_login()
        if change == "delete":
            visit.api("DELETE", _ORGANIZATION, orgname=orgname)
            return _ORGANIZATIONS
        if change == "ownership":
            visit.api("POST", "/superuser/takeownership/{namespace}", namespace=orgname)
            return f"{_ORGANIZATIONS}/{orgname}"
        body = {change: visit.form.get(change, "").strip()}
        changed = visit.api("PUT", _ORGANIZATION, body=body, orgname=orgname)
        return f"{_ORGANIZATIONS}/{changed['name']}"


def _check(visit: Visit, change: str) -> None:
    """Refuse unknown changes, and callers who may not change organizations.

    Raises:
        NotFound: There is no such change.
        InsufficientScope: The caller is no superuser.
    """
    if change not in _CHANGES:
        raise NotFound(f"organizations have no change '{change[:50]}'")
    require_operator(visit)
