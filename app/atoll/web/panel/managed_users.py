"""`/superuser/users`: the users of the registry, and changes of one of them."""

from __future__ import annotations

from typing import Any

from atoll.web.api.errors import InvalidRequest, NotFound
from atoll.web.panel.account_list import account_list
from atoll.web.panel.operator_rights import require_operator
from atoll.web.panel.page import Shown, form, page
from atoll.web.panel.visit import Visit

_USERS = "/superuser/users"
_USER = f"{_USERS}/{{username}}"
# The changes, and those that need a fresh login, or the name of the user typed.
_CHANGES = frozenset({"email", "password", "enable", "disable", "ownership", "delete"})
_FRESH = frozenset({"password", "disable", "ownership", "delete"})
_TYPED = frozenset({"disable", "ownership", "delete"})


class UsersPage:
    """`/superuser/users`."""

    @page("managed_users.html.j2")
    def on_get(self, visit: Visit) -> dict[str, Any]:
        """List the users and, to superusers, show the form for a new one."""
        return account_list(visit, _USERS)

    @form()
    def on_post(self, visit: Visit) -> str | Shown:
        """Create a user, and show a generated password once."""
        body = {
            "username": visit.form.get("username", "").strip(),
            "email": visit.form.get("email", "").strip() or None,
            "password": visit.form.get("password") or None,
        }
        created = visit.api("POST", _USERS, body=body)
        if body["password"] is not None:
            return f"{_USERS}/{created['username']}"
        shown = {"username": created["username"], "password": created["password"]}
        return Shown("managed_user_created.html.j2", shown)


class ManagedUserPage:
    """`/superuser/users/{username}`."""

    @page("managed_user.html.j2")
    def on_get(self, visit: Visit, username: str) -> dict[str, Any]:
        """Show a user."""
        return {"one": visit.api("GET", _USER, username=username)}


class UserChangeForm:
    """`/superuser/users/{username}/{change}`."""

    @page("managed_user_change.html.j2")
    def on_get(self, visit: Visit, username: str, change: str) -> dict[str, Any]:
        """Show the form of a change."""
        _check(visit, change)
        return {
            "one": visit.api("GET", _USER, username=username),
            "change": change,
            "fresh": change in _FRESH,
            "typed": change in _TYPED,
        }

    @form()
    def on_post(self, visit: Visit, username: str, change: str) -> str:
        """Change the user."""
        _check(visit, change)
        if change in _TYPED:
            visit.require_name("confirmation", username)
        if change in _FRESH:
            visit.require_fresh_login()
        if change == "delete":
            visit.api("DELETE", _USER, username=username)
            return _USERS
        if change == "ownership":
            visit.api("POST", "/superuser/takeownership/{namespace}", namespace=username)
            return f"/superuser/organizations/{username}"
        visit.api("PUT", _USER, body=_body(visit, change), username=username)
        return f"{_USERS}/{username}"


def _check(visit: Visit, change: str) -> None:
    """Refuse unknown changes, and callers who may not change users, before a password is asked for.

    Raises:
        NotFound: There is no such change.
        InsufficientScope: The caller is no superuser.
    """
    if change not in _CHANGES:
        raise NotFound(f"users have no change '{change[:50]}'")
    require_operator(visit)


def _body(visit: Visit, change: str) -> dict[str, Any]:
    """Return the body of the operation that changes a user."""
    if change == "email":
        return {"email": visit.form.get("email", "").strip()}
    if change == "password":
        password = visit.form.get("password", "")
        if password != visit.form.get("repeated"):
            raise InvalidRequest("The new password and its repetition differ.")
        return {"password": password}
    return {"enabled": change == "enable"}
