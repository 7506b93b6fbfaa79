"""`/oauth/`: the implicit grant of OAuth 2, by which a user issues a token to an application.

There are no pages: a script with a session sends the form that Quay's page would send.
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

# Ten years, as in Quay. Deleting the application, or a new password, revokes the token earlier.
TOKEN_SECONDS = 315_576_000
LOCAL = "/oauth/localapp"


class AuthorizationRequest(RequestModel):
    """An authorization that an application requests."""

    client_id: str = Field(min_length=1, max_length=255)
    redirect_uri: str = Field(min_length=1, max_length=4096)
    scope: str = Field(min_length=1, max_length=1024)
    response_type: Literal["token"] = "token"
    state: str | None = Field(default=None, max_length=4096)
    csrf_token: str | None = Field(default=None, alias="_csrf_token", max_length=1024)
    # The requested authorization (`assignuser`) that the user grants by this.
    assignment_uuid: UUID | None = None


class AuthorizationRequests:
    """Validate authorization requests against their applications."""

    def __init__(
        self, applications: Applications, external_urls: ExternalUrls, bundle: Bundle
    ) -> None:
        self._applications = applications
        self._external_urls = external_urls
        self._own = f"{bundle.preferred_url_scheme}://{bundle.server_hostname}{LOCAL}"

    def check(self, call: Call, request: AuthorizationRequest) -> tuple[Application, list[str]]:
        """Return the application and the scopes of an authorization request.

        Raises:
            ApplicationUnknown: There is no such application.
            InvalidRequest: The redirect URI is not the application's, or a scope is unknown.
        """
        application = self._applications.get(request.client_id)
        local = {self._own, self._external_urls.url(call.req, LOCAL)}
        if request.redirect_uri not in local and not application.may_redirect_to(
            request.redirect_uri
        ):
            raise InvalidRequest("redirect_uri is not what the application has registered")
        scopes = parse_scopes(request.scope)
        if not scopes or any(scope not in SCOPES for scope in scopes):
            raise InvalidRequest(f"scope: give some of {', '.join(SCOPES)}")
        return application, scopes


class AuthorizeApplication:
    """`/oauth/authorizeapp`: the user authorizes an application."""

    def __init__(
        self,
        requests: AuthorizationRequests,
        tokens: ApiTokens,
        assigned: AssignedAuthorizations,
        namespaces: Namespaces,
    ) -> None:
        self._requests = requests
        self._tokens = tokens
        self._assigned = assigned
        self._namespaces = namespaces

    @operation("authorizeApplication", body=AuthorizationRequest, status=302, form=True)
    def on_post(self, call: Call) -> Any:
        """Issue a token to an application, in the fragment of its redirect URI."""
        actor = require_user(call)
        if call.session is None:
            raise InsufficientScope(
                "authorizing an application requires a session: sign in with POST /api/v1/signin"
                " and send the CSRF token"
            )
        request: AuthorizationRequest = call.body
        application, scopes = self._requests.check(call, request)
        self._require_permission(call, request, application, scopes)
        token = self._tokens.create(
            actor.username, scopes, TOKEN_SECONDS, client_id=request.client_id
        )
        call.resp.set_header("Location", _with_token(request, token, scopes))
        call.log("authorize_application", actor.username, client_id=request.client_id)
        return {}

    def _require_permission(
        self, call: Call, request: AuthorizationRequest, application: Application, scopes: list[str]
    ) -> None:
        """Require an administrator of the organization, or an authorization assigned to the user.

        Any user can create an organization with an application and redirect to a URI of their own.
        If all users could authorize it, a single click on a prepared link would give the account
        away.
        """
        if request.assignment_uuid is None:
            self._namespaces.require_admin(call, application.organization)
            return
        self._assigned.answer(
            call.actor.id,
            request.assignment_uuid,
            client_id=request.client_id,
            redirect_uri=request.redirect_uri,
            scopes=scopes,
        )


def _with_token(request: AuthorizationRequest, token: str, scopes: list[str]) -> str:
    """Return the redirect URI with the token in its fragment (RFC 6749, section 4.2.2)."""
    parameters = {
        "access_token": token,
        "token_type": "Bearer",
        "expires_in": TOKEN_SECONDS,
        "scope": " ".join(scopes),
        **({} if request.state is None else {"state": request.state}),
    }
    return f"{request.redirect_uri}#{urlencode(parameters)}"


class Authorize:
    """`/oauth/authorize`: the URL to which an application redirects the user."""

    def __init__(self, requests: AuthorizationRequests) -> None:
        self._requests = requests

    @operation("requestAuthorization", query=AuthorizationRequest)
    def on_get(self, call: Call) -> Any:
        """Check an authorization request, and return how to grant it.

        Any page can make a browser follow a link with the session's cookie. So no token is issued
        here, even if the user authorized the application before.
        """
        require_user(call)
        self._requests.check(call, call.query)
        raise falcon.HTTPForbidden(
            description="there is no page to confirm this; send the same fields by POST to"
            " /oauth/authorizeapp, with a session and its CSRF token"
        )


class LocalApplication:
    """`/oauth/localapp`: the redirect URI for applications without a URL of their own."""

    @operation("showLocalApplication", anonymous=True)
    def on_get(self, call: Call) -> Any:
        """Explain where to find the token."""
        del call
        return {"message": "the token is in this page's address, after #access_token="}


def parse_scopes(text: str) -> list[str]:
    """Return the distinct scopes in a list separated by white space or commas, sorted."""
    return sorted({scope for scope in re.split(r"[\s,]+", text) if scope})


def require_user(call: Call) -> Principal:
    """Return the caller, who must be a user, not a robot, and have no limited scopes."""
    if call.actor.robot_owner is not None or call.actor.scopes is not None:
        raise call.forbidden()
    return call.actor
