"""The tab `tokens` of an account: app-specific tokens, and the API tokens that the user issued."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from atoll.web.api.errors import NotFound
from atoll.web.panel.login_lines import LoginLines
from atoll.web.panel.page import Shown, form, page
from atoll.web.panel.visit import Visit

_APP_TOKENS = "/user/apptoken"
_AUTHORIZATIONS = "/user/authorizations"
# Parts of paths, and names of lists of the API.
APP_TOKENS, API_TOKENS = "tokens", "authorizations"
# The user name that clients give with an app-specific token.
_APP_USER = "$app"


def tokens(visit: Visit, username: str) -> dict[str, Any]:
    """Return the variables of `account_tokens.html.j2`; without the feature, no app tokens."""
    visit.require_self(username)
    app_tokens = None
    if visit.calls.serves(_APP_TOKENS):
        app_tokens = visit.api("GET", _APP_TOKENS)["tokens"]
    authorizations = visit.api("GET", _AUTHORIZATIONS)["authorizations"]
    return {"app_tokens": app_tokens, "authorizations": authorizations}


class NewAppToken:
    """`/user/{username}/tokens/new`."""

    def __init__(self, logins: LoginLines) -> None:
        self._logins = logins

    @page("user.html.j2")
    def on_get(self, visit: Visit, username: str) -> dict[str, Any]:
        """Show the tab with the form."""
        shown = tokens(visit, username)
        return {"username": username, "own": True, "tab": "tokens", **shown}

    @form()
    def on_post(self, visit: Visit, username: str) -> Shown:
        """Create an app-specific token and show it."""
        visit.require_self(username)
        body = {"title": visit.form.get("title", "").strip()}
        token = visit.api("POST", _APP_TOKENS, body=body)["token"]
        credentials = self._logins.shown(_APP_USER, token["token_code"])
        return Shown("app_token.html.j2", {**credentials, "title": token["title"]})


class TokenRevocation:
    """`/user/{username}/tokens/{uuid}/revoke` and `.../authorizations/{uuid}/revoke`."""

    def __init__(self, kind: str) -> None:
        """Make the resource.

        Args:
            kind: APP_TOKENS or API_TOKENS.
        """
        self._kind = kind
        self._path = {APP_TOKENS: _APP_TOKENS, API_TOKENS: _AUTHORIZATIONS}[kind]

    @page("token_revoke.html.j2")
    def on_get(self, visit: Visit, username: str, uuid: UUID) -> dict[str, Any]:
        """Ask for the confirmation."""
        _require_changes(visit, username)
        # The operation that returns a single token returns its secret as well.
        for one in visit.api("GET", self._path)[self._kind]:
            if one["uuid"] == str(uuid):
                return {"kind": self._kind, "uuid": uuid, "title": _title(one)}
        raise NotFound(f"you have no token {uuid}")

    @form()
    def on_post(self, visit: Visit, username: str, uuid: UUID) -> str:
        """Revoke the token."""
        _require_changes(visit, username)
        visit.api("DELETE", f"{self._path}/{{uuid}}", uuid=uuid)
        return f"/user/{username}?tab=tokens"


def _title(token: dict[str, Any]) -> str:
    application = token.get("application")
    return str(token.get("title") or (application["name"] if application else "API token"))


def _require_changes(visit: Visit, username: str) -> None:
    visit.require_self(username)
    visit.require_changes()
