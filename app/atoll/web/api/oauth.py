"""`/oauth/`: OAuth 2 with the response type "token", by which a user gives a program a token.

There are no pages: a script that signed in sends what the page's button would.
"""

from __future__ import annotations

import re
from typing import Any, Literal
from urllib.parse import urlencode
from uuid import UUID

import falcon
from pydantic import Field

from atoll.auth.access import Principal
from atoll.auth.api_tokens import SCOPES, ApiTokens
from atoll.auth.applications import Application, Applications
from atoll.auth.assigned_authorizations import AssignedAuthorizations
from atoll.config import Bundle
from atoll.web.api.errors import InsufficientScope, InvalidRequest
from atoll.web.api.namespaces import Namespaces
from atoll.web.api.operation import Call, RequestModel, operation
from atoll.web.external_url import ExternalUrls

# As long as Quay's: ten years. Deleting the application, or a new password, ends it sooner.
TOKEN_SECONDS = 315_576_000
LOCAL = "/oauth/localapp"


class Authorization(RequestModel):
    """What a program asks for."""

    client_id: str = Field(min_length=1, max_length=255)
    redirect_uri: str = Field(min_length=1, max_length=4096)
    scope: str = Field(min_length=1, max_length=1024)
    response_type: Literal["token"] = "token"
    state: str | None = Field(default=None, max_length=4096)
    csrf_token: str | None = Field(default=None, alias="_csrf_token", max_length=1024)
    # What the user was asked before (`assignuser`), and answers by this.
    assignment_uuid: UUID | None = None


class Redirects:
    """Checks what applications ask for."""

    def __init__(
        self, applications: Applications, external_urls: ExternalUrls, bundle: Bundle
    ) -> None:
        self._applications = applications
        self._external_urls = external_urls
        self._own = f"{bundle.preferred_url_scheme}://{bundle.server_hostname}{LOCAL}"

    def checked(self, call: Call, asked: Authorization) -> tuple[Application, list[str]]:
        """Return the application and the scopes of a request.

        Raises:
            ApplicationUnknown: There is no such application.
            InvalidRequest: The redirect URI is not the application's, or a scope is unknown.
        """
        application = self._applications.get(asked.client_id)
        local = {self._own, self._external_urls.url(call.req, LOCAL)}
        if asked.redirect_uri not in local and not application.may_redirect_to(asked.redirect_uri):
            raise InvalidRequest("redirect_uri is not what the application has registered")
        scopes = parse_scopes(asked.scope)
        if not scopes or any(scope not in SCOPES for scope in scopes):
            raise InvalidRequest(f"scope: give some of {', '.join(SCOPES)}")
        return application, scopes


class AuthorizeApplication:
    """`/oauth/authorizeapp`: the user authorizes an application."""

    def __init__(
        self,
        redirects: Redirects,
        tokens: ApiTokens,
        assigned: AssignedAuthorizations,
        namespaces: Namespaces,
    ) -> None:
        self._redirects = redirects
        self._tokens = tokens
        self._assigned = assigned
        self._namespaces = namespaces

    @operation("authorizeApplication", body=Authorization, status=302, form=True)
    def on_post(self, call: Call) -> Any:
        """Give an application a token, in the fragment of its redirect URI."""
        actor = person(call)
        if call.session is None:
            raise InsufficientScope(
                "authorizing an application requires a session: sign in with POST /api/v1/signin"
                " and send the CSRF token"
            )
        asked: Authorization = call.body
        application, scopes = self._redirects.checked(call, asked)
        self._require_permission(call, asked, application, scopes)
        token = self._tokens.create(
            actor.username, scopes, TOKEN_SECONDS, client_id=asked.client_id
        )
        call.resp.set_header("Location", _with_token(asked, token, scopes))
        call.log("authorize_application", actor.username, client_id=asked.client_id)
        return {}

    def _require_permission(
        self, call: Call, asked: Authorization, application: Application, scopes: list[str]
    ) -> None:
        """Require an administrator of the organization, or a user it assigned this token to.

        Anybody can create an organization with an application, whose redirect URI is their own. If
        every user could authorize it, one click on a prepared link would hand over the account.
        """
        if asked.assignment_uuid is None:
            self._namespaces.administered(call, application.organization)
            return
        self._assigned.answer(
            call.actor.id,
            asked.assignment_uuid,
            client_id=asked.client_id,
            redirect_uri=asked.redirect_uri,
            scopes=scopes,
        )


def _with_token(asked: Authorization, token: str, scopes: list[str]) -> str:
    """Return the redirect URI with the token in its fragment (RFC 6749, section 4.2.2)."""
    answer = {
        "access_token": token,
        "token_type": "Bearer",
        "expires_in": TOKEN_SECONDS,
        "scope": " ".join(scopes),
        **({} if asked.state is None else {"state": asked.state}),
    }
    return f"{asked.redirect_uri}#{urlencode(answer)}"


class Authorize:
    """`/oauth/authorize`: where an application sends the user."""

    def __init__(self, redirects: Redirects) -> None:
        self._redirects = redirects

    @operation("requestAuthorization", query=Authorization)
    def on_get(self, call: Call) -> Any:
        """Check the request of an application, and say how to grant it.

        Any page can make a browser follow a link, with the session's cookie. So no token is issued
        here, also not to an application that the user authorized before.
        """
        person(call)
        self._redirects.checked(call, call.query)
        raise falcon.HTTPForbidden(
            description="there is no page to confirm this; send the same fields by POST to"
            " /oauth/authorizeapp, with a session and its CSRF token"
        )


class LocalApplication:
    """`/oauth/localapp`: where programs without an address of their own are sent."""

    @operation("showLocalApplication", anonymous=True)
    def on_get(self, call: Call) -> Any:
        """Say where the token is."""
        del call
        return {"message": "the token is in this page's address, after #access_token="}


def parse_scopes(text: str) -> list[str]:
    """Return the scopes that TEXT lists, with white space or commas between, each once."""
    return sorted({scope for scope in re.split(r"[\s,]+", text) if scope})


def person(call: Call) -> Principal:
    """Return the caller, who must be a person and not use a token of limited scopes."""
    if call.actor.robot_owner is not None or call.actor.scopes is not None:
        raise call.forbidden()
    return call.actor
