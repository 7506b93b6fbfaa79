"""`/user/{username}`: the caller's account with its tabs, or the repositories of another user."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from atoll.web.api.errors import InvalidRequest, NotFound
from atoll.web.panel.account_settings import AccountSettings
from atoll.web.panel.account_tokens import tokens
from atoll.web.panel.log import log
from atoll.web.panel.page import form, page
from atoll.web.panel.robot_owner import RobotOwner
from atoll.web.panel.visit import Visit


class UserPage:
    """`/user/{username}`."""

    def __init__(self, settings: AccountSettings) -> None:
        self._readers = {**_READERS, "account": settings.variables}

    @page("user.html.j2")
    def on_get(self, visit: Visit, username: str) -> dict[str, Any]:
        """Show a tab of the caller's account, or the visible repositories of another user."""
        shared = {"username": username, "own": _is_caller(visit, username)}
        tab = visit.req.get_param("tab") or "account"
        if tab not in self._readers:
            raise NotFound(f"the page of an account has no tab '{tab[:100]}'")
        if shared["own"]:
            return {**shared, "tab": tab, **self._readers[tab](visit, username)}
        if tab != "account":
            raise visit.call.forbidden()
        query = {"namespace": username, "last_modified": True}
        found = visit.api("GET", "/repository", query=query)
        return {
            **shared,
            "repositories": found["repositories"],
            "next_page": found.get("next_page"),
        }

    @form()
    def on_post(self, visit: Visit, username: str) -> str:
        """Change the caller's password, which ends all of their sessions."""
        visit.require_self(username)
        password = visit.form.get("password", "")
        if password != visit.form.get("repeated"):
            raise InvalidRequest("The new password and its repetition differ.")
        body = {"password": password, "current_password": visit.form.get("current_password", "")}
        visit.api("PUT", "/user", body=body)
        return f"/signin/?next=/user/{username}"


def _is_caller(visit: Visit, username: str) -> bool:
    return visit.principal is not None and visit.principal.username == username


def _robots(visit: Visit, username: str) -> dict[str, Any]:
    owner = RobotOwner.of(visit, None, username)
    return {"owner": owner, "robots": owner.robots(visit)}


def _logs(visit: Visit, username: str) -> dict[str, Any]:
    return {"path": f"/user/{username}", **log(visit, "/user/logs")}


_READERS: dict[str, Callable[[Visit, str], dict[str, Any]]] = {
    "robots": _robots,
    "tokens": tokens,
    "logs": _logs,
}
