"""`/user/{username}`: the caller's account, or the repositories of another user."""

from __future__ import annotations

from typing import Any

from atoll.web.api.errors import InsufficientScope, InvalidRequest
from atoll.web.panel.log import log
from atoll.web.panel.page import form, page
from atoll.web.panel.visit import Visit


class UserPage:
    """`/user/{username}`."""

    @page("user.html.j2")
    def on_get(self, visit: Visit, username: str) -> dict[str, Any]:
        """Show the caller's account or log, or the visible repositories of another user."""
        shared = {"username": username, "own": _is_caller(visit, username)}
        if visit.req.get_param("tab") == "logs":
            if not shared["own"]:
                raise visit.call.forbidden()
            return {
                **shared,
                "tab": "logs",
                "path": f"/user/{username}",
                **log(visit, "/user/logs"),
            }
        if shared["own"]:
            return {**shared, "tab": "account", "account": visit.api("GET", "/user")}
        query = {"namespace": username, "last_modified": True}
        found = visit.api("GET", "/repository", query=query)
        return {
            **shared,
            "tab": "repositories",
            "repositories": found["repositories"],
            "next_page": found.get("next_page"),
        }

    @form()
    def on_post(self, visit: Visit, username: str) -> str:
        """Change the caller's password, which ends all of their sessions."""
        if not _is_caller(visit, username):
            raise InsufficientScope("users change their own password only")
        password = visit.form.get("password", "")
        if password != visit.form.get("repeated"):
            raise InvalidRequest("The new password and its repetition differ.")
        body = {"password": password, "current_password": visit.form.get("current_password", "")}
        visit.api("PUT", "/user", body=body)
        return f"/signin/?next=/user/{username}"


def _is_caller(visit: Visit, username: str) -> bool:
    return visit.principal is not None and visit.principal.username == username
