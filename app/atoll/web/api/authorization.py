"""`user/authorizations`: the API tokens that a user issued."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from typing_extensions import TypedDict

from atoll.auth.api_tokens import SCOPES, ApiToken, ApiTokens
from atoll.web.api.operation import Call, operation
from atoll.web.api.schemas import http_date


class AuthorizationSchema(TypedDict):
    """An API token, without the token itself, which is returned on creation only."""

    uuid: str
    scopes: list[dict[str, str]]
    created: str | None
    expiration: str | None
    application: dict[str, str] | None


class AuthorizationList:
    """`user/authorizations`."""

    def __init__(self, tokens: ApiTokens) -> None:
        self._tokens = tokens

    @operation(
        "listUserAuthorizations", response=dict[str, list[AuthorizationSchema]], scope="user:admin"
    )
    def on_get(self, call: Call) -> Any:
        """List the caller's API tokens."""
        return {"authorizations": [_serialize(one) for one in self._tokens.list(call.actor.id)]}


class AuthorizationResource:
    """`user/authorizations/{uuid}`."""

    def __init__(self, tokens: ApiTokens) -> None:
        self._tokens = tokens

    @operation("deleteUserAuthorization", status=204, scope="user:admin")
    def on_delete(self, call: Call, uuid: UUID) -> None:
        """Revoke an API token."""
        self._tokens.revoke(call.actor.id, uuid)
        call.log("revoke_api_token", call.actor.username, token=str(uuid))


def _serialize(one: ApiToken) -> AuthorizationSchema:
    application = None
    if one.client_id is not None and one.application is not None:
        application = {"clientId": one.client_id, "name": one.application}
    return {
        "uuid": str(one.uuid),
        "scopes": [
            {"scope": scope, "description": SCOPES.get(scope, "")} for scope in one.scope.split()
        ],
        "created": http_date(one.created_at),
        "expiration": http_date(one.expires_at),
        "application": application,
    }
