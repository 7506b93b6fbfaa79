"""`/signin/` and `/signout/`: start and end a session."""

from __future__ import annotations

from typing import Any

from atoll.web.api.cookies import COOKIE, Cookies
from atoll.web.api.errors import InsufficientScope, InvalidRequest
from atoll.web.api.operation import validated
from atoll.web.api.session import PasswordLogin, SignInBody
from atoll.web.panel import fresh_login
from atoll.web.panel.fresh_login import FreshLogin
from atoll.web.panel.page import form, is_local, page
from atoll.web.panel.visit import Visit


class SignIn:
    """`/signin/`."""

    def __init__(self, login: PasswordLogin, cookies: Cookies, fresh: FreshLogin) -> None:
        self._login = login
        self._cookies = cookies
        self._fresh = fresh

    @page("signin.html.j2", before_login=True)
    def on_get(self, visit: Visit) -> dict[str, Any]:
        """Show the form."""
        return {"enabled": self._login.enabled, "next": _next(visit)}

    @form(before_login=True)
    def on_post(self, visit: Visit) -> str:
        """Start a session with a password."""
        if not self._login.enabled:
            raise InsufficientScope("passwords are disabled by FEATURE_DIRECT_LOGIN")
        body: Any = validated(SignInBody, visit.form, "form")
        try:
            begun = self._login.begin(visit.req, body.username, body.password)
        except InsufficientScope as error:
            raise InvalidRequest("The user name or the password is wrong.") from error
        self._cookies.write(visit.req, visit.resp, begun)
        self._fresh.record(visit.req, visit.resp, begun)
        return _next(visit)


class SignOut:
    """`/signout/`."""

    @form(before_login=True)
    def on_post(self, visit: Visit) -> str:
        """End the session."""
        for cookie, same_site in ((COOKIE, "Lax"), (fresh_login.COOKIE, "Strict")):
            visit.resp.unset_cookie(cookie, path="/", same_site=same_site)
        return "/"


def _next(visit: Visit) -> str:
    """Return the page to open after the login; never one of another site."""
    wanted = visit.form.get("next") or visit.req.get_param("next") or "/"
    return wanted if is_local(wanted) else "/"
