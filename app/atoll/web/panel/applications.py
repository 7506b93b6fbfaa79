"""OAuth applications of an organization: the tab, and the forms that change them."""

from __future__ import annotations

from typing import Any

from atoll.web.panel.page import Shown, form, page
from atoll.web.panel.visit import Visit

_APPLICATIONS = "/organization/{orgname}/applications"
_ONE = f"{_APPLICATIONS}/{{client_id}}"
_FIELDS = ("name", "application_uri", "redirect_uri", "description")


def applications(visit: Visit, orgname: str) -> dict[str, Any]:
    """Return the variables of `organization_applications.html.j2`, without client secrets."""
    found = visit.api("GET", _APPLICATIONS, orgname=orgname)["applications"]
    return {"applications": [_without_secret(one) for one in found]}


class NewApplication:
    """`/organization/{orgname}/new-application`."""

    @page("application_form.html.j2")
    def on_get(self, visit: Visit, orgname: str) -> dict[str, Any]:
        """Show the form."""
        visit.require_changes()
        # Only administrators may list applications.
        applications(visit, orgname)
        return {"orgname": orgname, "application": None}

    @form()
    def on_post(self, visit: Visit, orgname: str) -> Shown:
        """Create the application and show its secret."""
        created = visit.api("POST", _APPLICATIONS, body=_details(visit), orgname=orgname)
        return _secret(orgname, created)


class ApplicationPage:
    """`/organization/{orgname}/applications/{client_id}`."""

    @page("application_form.html.j2")
    def on_get(self, visit: Visit, orgname: str, client_id: str) -> dict[str, Any]:
        """Show the form with the details of the application."""
        return _form(visit, orgname, client_id)

    @form()
    def on_post(self, visit: Visit, orgname: str, client_id: str) -> str:
        """Change the details."""
        body = _details(visit)
        visit.api("PUT", _ONE, body=body, orgname=orgname, client_id=client_id)
        return _list(orgname)


class ApplicationSecret:
    """`/organization/{orgname}/applications/{client_id}/reset`."""

    @page("application_change.html.j2")
    def on_get(self, visit: Visit, orgname: str, client_id: str) -> dict[str, Any]:
        """Ask for the confirmation."""
        return {**_form(visit, orgname, client_id), "change": "reset"}

    @form()
    def on_post(self, visit: Visit, orgname: str, client_id: str) -> Shown:
        """Replace the secret and show the new one."""
        _confirm(visit, orgname, client_id)
        path = f"{_ONE}/resetclientsecret"
        changed = visit.api("POST", path, orgname=orgname, client_id=client_id)
        return _secret(orgname, changed)


class ApplicationDeletion:
    """`/organization/{orgname}/applications/{client_id}/delete`."""

    @page("application_change.html.j2")
    def on_get(self, visit: Visit, orgname: str, client_id: str) -> dict[str, Any]:
        """Ask for the confirmation."""
        return {**_form(visit, orgname, client_id), "change": "delete"}

    @form()
    def on_post(self, visit: Visit, orgname: str, client_id: str) -> str:
        """Delete the application."""
        _confirm(visit, orgname, client_id)
        visit.api("DELETE", _ONE, orgname=orgname, client_id=client_id)
        return _list(orgname)


def _form(visit: Visit, orgname: str, client_id: str) -> dict[str, Any]:
    visit.require_changes()
    found = visit.api("GET", _ONE, orgname=orgname, client_id=client_id)
    return {"orgname": orgname, "application": _without_secret(found)}


def _confirm(visit: Visit, orgname: str, client_id: str) -> None:
    """Require the name of the application and a fresh login."""
    found = _form(visit, orgname, client_id)
    visit.require_name("application", found["application"]["name"])
    visit.require_fresh_login()


def _details(visit: Visit) -> dict[str, str]:
    return {name: visit.form.get(name, "").strip().replace("\r\n", "\n") for name in _FIELDS}


def _without_secret(application: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in application.items() if name != "client_secret"}


def _secret(orgname: str, application: dict[str, Any]) -> Shown:
    return Shown("application_secret.html.j2", {"orgname": orgname, "application": application})


def _list(orgname: str) -> str:
    return f"/organization/{orgname}?tab=applications"
