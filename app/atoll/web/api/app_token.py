"""`user/apptoken`: app-specific tokens, with which programs pull and push as a user."""

from __future__ import annotations

from typing import Any, NotRequired
from uuid import UUID

from pydantic import Field
from typing_extensions import TypedDict

from atoll.auth.api_tokens import AppToken, AppTokens
from atoll.web.api.operation import Call, RequestModel, operation
from atoll.web.api.schemas import http_date


class NewAppToken(RequestModel):
    """A token to create."""

    title: str = Field(min_length=1, max_length=255)


class AppTokenQuery(RequestModel):
    """A selection of tokens."""

    expiring: bool = False


class AppTokenSchema(TypedDict):
    """An app-specific token; a list omits `token_code`."""

    uuid: str
    title: str
    created: str | None
    expiration: str | None
    token_code: NotRequired[str]


class AppTokenPage(TypedDict):
    """The caller's tokens."""

    tokens: list[AppTokenSchema]
    only_expiring: bool


class AppTokenList:
    """`user/apptoken`."""

    def __init__(self, tokens: AppTokens) -> None:
        self._tokens = tokens

    @operation("listAppTokens", query=AppTokenQuery, response=AppTokenPage, scope="user:admin")
    def on_get(self, call: Call) -> Any:
        """List the caller's app tokens, without their codes."""
        expiring = call.query.expiring
        found = self._tokens.list(_user_id(call), expiring=expiring)
        return {"tokens": [_serialize(token) for token in found], "only_expiring": expiring}

    @operation(
        "createAppToken", body=NewAppToken, response=dict[str, AppTokenSchema], scope="user:admin"
    )
    def on_post(self, call: Call) -> Any:
        """Create an app token."""
        token = self._tokens.create(_user_id(call), call.body.title)
        call.log("create_app_specific_token", call.actor.username, token_title=token.title)
        return {"token": {**_serialize(token), "token_code": token.code}}


class AppTokenResource:
    """`user/apptoken/{uuid}`."""

    def __init__(self, tokens: AppTokens) -> None:
        self._tokens = tokens

    @operation("getAppToken", response=dict[str, AppTokenSchema], scope="user:admin")
    def on_get(self, call: Call, uuid: UUID) -> Any:
        """Get an app token and its code."""
        token = self._tokens.get(_user_id(call), uuid)
        return {"token": {**_serialize(token), "token_code": token.code}}

    @operation("revokeAppToken", status=204, scope="user:admin")
    def on_delete(self, call: Call, uuid: UUID) -> None:
        """Revoke an app token."""
        self._tokens.revoke(_user_id(call), uuid)
        call.log("revoke_app_specific_token", call.actor.username, token=str(uuid))


def _user_id(call: Call) -> int:
    """Return the caller's id. Robots have no app tokens."""
    if call.actor.robot_owner is not None:
        raise call.forbidden()
    return call.actor.id


def _serialize(token: AppToken) -> AppTokenSchema:
    return {
        "uuid": str(token.uuid),
        "title": token.title,
        "created": http_date(token.created_at),
        "expiration": http_date(token.expires_at),
    }
