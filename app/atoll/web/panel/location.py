"""`/superuser/locations/{location}`: the state of a location, drain and activation."""

from __future__ import annotations

from typing import Any

from atoll.web.panel.page import form, page
from atoll.web.panel.visit import Visit

_LOCATION = "/superuser/locations/{location}"
# Images that the preview of a loss lists.
_IMAGES = 50


class LocationPage:
    """`/superuser/locations/{location}`."""

    @page("location.html.j2")
    def on_get(self, visit: Visit, location: str) -> dict[str, Any] | None:
        """Show a location and, if requested, what would be lost with its store.

        The preview reads all blobs of the location, so a page does not begin it by itself.
        """
        one = visit.live(
            lambda: visit.api("GET", _LOCATION, query={"recent": True}, location=location)
        )
        if one is None:
            return None
        loss = None
        if visit.req.get_param("preview"):
            query = {"limit": _IMAGES}
            loss = visit.api("GET", f"{_LOCATION}/loss", query=query, location=location)
        return {"one": one, "loss": loss}


class DrainForm:
    """`/superuser/locations/{location}/drain`."""

    @page("location_change.html.j2")
    def on_get(self, visit: Visit, location: str) -> dict[str, Any]:
        """Show the form."""
        return _form(visit, location, "drain")

    @form()
    def on_post(self, visit: Visit, location: str) -> str:
        """Drain the location."""
        return _change(visit, location, "drain")


class ActivationForm:
    """`/superuser/locations/{location}/activate`."""

    @page("location_change.html.j2")
    def on_get(self, visit: Visit, location: str) -> dict[str, Any]:
        """Show the form."""
        return _form(visit, location, "activate")

    @form()
    def on_post(self, visit: Visit, location: str) -> str:
        """Activate the location."""
        return _change(visit, location, "activate")


def _form(visit: Visit, location: str, change: str) -> dict[str, Any]:
    return {"one": visit.api("GET", _LOCATION, location=location), "change": change}


def _change(visit: Visit, location: str, change: str) -> str:
    visit.require_fresh_login()
    body = {"location": visit.form.get("location", "")}
    visit.api("POST", f"{_LOCATION}/{change}", body=body, location=location)
    return f"/superuser/locations/{location}"
