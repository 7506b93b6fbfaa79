"""The settings of the caller's account: the e-mail address, and the life of deleted tags."""

from __future__ import annotations

from typing import Any

from atoll.web.api.errors import InvalidRequest
from atoll.web.panel.page import form, page
from atoll.web.panel.visit import Visit


class AccountSettings:
    """`/user/{username}/settings`."""

    def __init__(self, expirations: list[int]) -> None:
        """Make the resource.

        Args:
            expirations: TAG_EXPIRATION_OPTIONS, in seconds.
        """
        self._expirations = sorted(expirations)

    @page("user.html.j2")
    def on_get(self, visit: Visit, username: str) -> dict[str, Any]:
        """Show the tab `account`, which has the form."""
        visit.require_self(username)
        shown = {"username": username, "own": True, "tab": "account"}
        return {**shown, **self.variables(visit, username)}

    def variables(self, visit: Visit, username: str) -> dict[str, Any]:
        """Return the variables of `account_account.html.j2`."""
        visit.require_self(username)
        return {"account": visit.api("GET", "/user"), "expirations": self._expirations}

    @form()
    def on_post(self, visit: Visit, username: str) -> str:
        """Change the settings."""
        visit.require_self(username)
        email, expiration = visit.form.get("email", "").strip(), visit.form.get("expiration")
        if not email and visit.api("GET", "/user")["email"]:
            raise InvalidRequest("The e-mail address can be replaced, but not removed.")
        body = {"email": email or None, "tag_expiration_s": expiration or None}
        visit.api("PUT", "/user", body=body)
        return f"/user/{username}"
