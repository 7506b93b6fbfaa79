"""`/oauth/`: how a program gets a token of the API from a user (OAuth 2, response type "token").

There are no pages: whoever is signed in, or shows a password, answers for the page's button.
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
from atoll.web.api.errors import InvalidRequest
from atoll.web.api.operation import Body, Call, operation
from atoll.web.authority import Authority

# As long as Quay's: ten years. Deleting the application, or a new password, ends it sooner.
TOKEN_SECONDS = 315_576_000
LOCAL = "/oauth/localapp"


class Authorization(Body):
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
    """Knows which application may have its answer sent where."""

    def __init__(self, applications: Applications, authority: Authority, bundle: Bundle) -> None:
        self._applications = applications
        self._authority = authority
        self._own = f"{bundle.preferred_url_scheme}://{bundle.server_hostname}{LOCAL}"

    def checked(self, call: Call, asked: Authorization) -> tuple[Application, list[str]]:
        """Return the application that asks, which may have the answer, and the scopes."""
        application = self._applications.get(asked.client_id)
        local = {self._own, self._authority.url(call.req, LOCAL)}
        if asked.redirect_uri not in local and not application.may_redirect_to(asked.redirect_uri):
            raise InvalidRequest("redirect_uri is not what the application has registered")
        scopes = parse_scopes(asked.scope)
        if not scopes or any(scope not in SCOPES for scope in scopes):
            raise InvalidRequest(f"scope: give some of {', '.join(SCOPES)}")
        return application, scopes


class _Authorizing:
    """What both ways to a token share."""

    def __init__(self, redirects: Redirects, tokens: ApiTokens) -> None:
        self._redirects = redirects
        self._tokens = tokens

    def _redirect(self, call: Call, asked: Authorization, scopes: list[str]) -> None:
        token = self._tokens.create(
            call.actor.username, scopes, TOKEN_SECONDS, client_id=asked.client_id
        )
        answer = {
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": TOKEN_SECONDS,
            "scope": " ".join(scopes),
            **({} if asked.state is None else {"state": asked.state}),
        }
        call.resp.set_header("Location", f"{asked.redirect_uri}#{urlencode(answer)}")


class AuthorizeApplication(_Authorizing):
    """`/oauth/authorizeapp`: the user's yes."""

    def __init__(
        self, redirects: Redirects, tokens: ApiTokens, assigned: AssignedAuthorizations
    ) -> None:
        super().__init__(redirects, tokens)
        self._assigned = assigned

    @operation("authorizeApplication", body=Authorization, status=302, form=True)
    def on_post(self, call: Call) -> Any:
        """Give an application a token, in the fragment of the address that it is sent to."""
        actor = person(call)
        asked: Authorization = call.body
        _, scopes = self._redirects.checked(call, asked)
        if asked.assignment_uuid is not None:
            self._assigned.answer(
                actor.id, asked.assignment_uuid, client_id=asked.client_id, scopes=scopes
            )
        self._redirect(call, asked, scopes)
        call.log("authorize_application", actor.username, client_id=asked.client_id)
        return {}


class Authorize(_Authorizing):
    """`/oauth/authorize`: where a program sends the user."""

    @operation("requestAuthorization", query=Authorization, status=302)
    def on_get(self, call: Call) -> Any:
        """Give a token again to an application that the user gave one with these scopes before."""
        actor = person(call)
        _, scopes = self._redirects.checked(call, call.query)
        if not self._tokens.was_authorized(actor.id, call.query.client_id, scopes):
            raise falcon.HTTPForbidden(
                description="the user has not authorized this application yet; there is no page"
                " for that, so send the same fields by POST to /oauth/authorizeapp"
            )
        self._redirect(call, call.query, scopes)
        return {}


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
    """Return who says yes: a person, not a robot, and not another token."""
    if call.actor.robot_owner is not None or call.actor.scopes is not None:
        raise call.refuse()
    return call.actor
