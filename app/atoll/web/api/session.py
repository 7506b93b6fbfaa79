"""Sign-in by a session: `csrf_token`, `signin` and `signout`, as scripts written for Quay do it."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from atoll.auth.access import Access, WrongCredentials
from atoll.auth.credentials import Credentials
from atoll.auth.sessions import Sessions
from atoll.config import Bundle
from atoll.web.api.cookies import COOKIE, Cookies
from atoll.web.api.errors import ForgedRequest, InsufficientScope
from atoll.web.api.operation import CSRF_HEADER, Call, RequestModel, operation
from atoll.web.client_address import client_address


class CsrfToken:
    """`/csrf_token`."""

    def __init__(self, sessions: Sessions, cookies: Cookies) -> None:
        self._sessions = sessions
        self._cookies = cookies

    @operation("getCsrfToken", anonymous=True, before_login=True)
    def on_get(self, call: Call) -> Any:
        """Return what a session's next request has to show, and begin a session if need be."""
        session = self._cookies.read(call.req) or self._sessions.begin()
        self._cookies.write(call.req, call.resp, session)
        return {"csrf_token": session.csrf_token}


class SignInBody(RequestModel):
    """Who signs in."""

    username: str = Field(max_length=255)
    password: str = Field(max_length=1024)


class SignIn:
    """`signin`."""

    def __init__(
        self, access: Access, sessions: Sessions, cookies: Cookies, bundle: Bundle
    ) -> None:
        self._access = access
        self._sessions = sessions
        self._cookies = cookies
        self._enabled = bundle.feature_direct_login

    @operation("signinUser", body=SignInBody, anonymous=True, before_login=True)
    def on_post(self, call: Call) -> Any:
        """Begin a session with a password."""
        session = self._cookies.read(call.req)
        if session is None or not session.confirms(call.req.get_header(CSRF_HEADER)):
            raise ForgedRequest
        shown = Credentials(call.body.username, call.body.password)
        if not self._enabled or not shown.of_person:
            raise InsufficientScope
        try:
            person, _ = self._access.authenticate(shown, client_address(call.req), [])
        except WrongCredentials:
            person = None
        if person is None:
            raise InsufficientScope("Invalid Username or Password")
        begun = self._sessions.begin(person.username, person.password_hash)
        self._cookies.write(call.req, call.resp, begun)
        return {"success": True}


class SignOut:
    """`signout`."""

    @operation("logout", anonymous=True, before_login=True)
    def on_post(self, call: Call) -> Any:
        """End the client's session."""
        call.resp.unset_cookie(COOKIE, path="/", same_site="Lax")
        return {"success": True}
