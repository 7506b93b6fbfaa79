"""`organization/{orgname}/applications/{client_id}/tokens`: tokens of an OAuth application."""

from __future__ import annotations

from typing import Any, NotRequired
from uuid import UUID

from pydantic import Field, field_validator
from typing_extensions import TypedDict

from atoll.auth.api_tokens import SCOPES
from atoll.auth.application_tokens import ApplicationToken, ApplicationTokens
from atoll.auth.applications import Application, Applications
from atoll.web.api.errors import InsufficientScope
from atoll.web.api.namespaces import Namespaces
from atoll.web.api.oauth import TOKEN_SECONDS, parse_scopes
from atoll.web.api.operation import Call, RequestModel, operation


class NewApplicationToken(RequestModel):
    """A token to create: its scopes, separated by spaces or commas, and its lifetime in seconds."""

    name: str = Field(min_length=1, max_length=255, pattern=r"\S")
    scope: str = Field(min_length=1, max_length=1024)
    expiration: int = Field(default=TOKEN_SECONDS, ge=1, le=TOKEN_SECONDS)

    @field_validator("scope")
    @classmethod
    def _is_known(cls, value: str) -> str:
        scopes = parse_scopes(value)
        unknown = [scope for scope in scopes if scope not in SCOPES]
        if unknown or not scopes:
            raise ValueError(f"known scopes are {', '.join(SCOPES)}")
        return " ".join(scopes)


class ApplicationTokenSchema(TypedDict):
    """A token; `token` is returned on creation only."""

    uuid: str
    name: str | None
    scope: str
    expires_at: str | None
    created: str | None
    created_by: str
    last_accessed: None
    token: NotRequired[str]


class _ApplicationTokenBase:
    """Base of the resources: finds the application, which the caller must administer."""

    def __init__(
        self, tokens: ApplicationTokens, applications: Applications, namespaces: Namespaces
    ) -> None:
        self._tokens = tokens
        self._applications = applications
        self._namespaces = namespaces

    def _application(self, call: Call, orgname: str, client_id: str) -> Application:
        self._namespaces.require_admin(call, orgname)
        return self._applications.get(client_id, orgname)


class ApplicationTokenList(_ApplicationTokenBase):
    """`organization/{orgname}/applications/{client_id}/tokens`."""

    @operation(
        "listOrganizationApplicationTokens",
        response=dict[str, list[ApplicationTokenSchema]],
        scope="org:admin",
    )
    def on_get(self, call: Call, orgname: str, client_id: str) -> Any:
        """List the tokens of an application."""
        application = self._application(call, orgname, client_id)
        return {"tokens": [_serialize(one) for one in self._tokens.list(application.client_id)]}

    @operation(
        "createOrganizationApplicationToken",
        body=NewApplicationToken,
        response=ApplicationTokenSchema,
        scope="org:admin",
    )
    def on_post(self, call: Call, orgname: str, client_id: str) -> Any:
        """Create a token of the caller for an application, with scopes that the caller has."""
        application = self._application(call, orgname, client_id)
        if call.actor.robot_owner is not None:
            raise call.forbidden()
        new: NewApplicationToken = call.body
        scopes = new.scope.split()
        if not all(call.actor.has_scope(scope) for scope in scopes):
            raise InsufficientScope
        created = self._tokens.create(
            application.client_id, call.actor.id, new.name.strip(), scopes, new.expiration
        )
        call.log(
            "create_oauth_api_token",
            orgname,
            oauth_token_uuid=str(created.uuid),
            token_display_name=created.name,
            scope=created.scope,
            application_name=application.name,
            client_id=client_id,
        )
        return _serialize(created)


class ApplicationTokenResource(_ApplicationTokenBase):
    """`organization/{orgname}/applications/{client_id}/tokens/{uuid}`."""

    @operation("deleteOrganizationApplicationToken", status=204, scope="org:admin")
    def on_delete(self, call: Call, orgname: str, client_id: str, uuid: UUID) -> None:
        """Revoke a token of an application."""
        application = self._application(call, orgname, client_id)
        self._tokens.revoke(application.client_id, uuid)
        call.log(
            "revoke_oauth_api_token",
            orgname,
            oauth_token_uuid=str(uuid),
            application_name=application.name,
            client_id=client_id,
        )


def _serialize(one: ApplicationToken) -> ApplicationTokenSchema:
    result: ApplicationTokenSchema = {
        "uuid": str(one.uuid),
        "name": one.name,
        "scope": one.scope,
        "expires_at": one.expires_at.isoformat(),
        "created": one.created_at.isoformat(),
        "created_by": one.username,
        # The last use of a token is not recorded.
        "last_accessed": None,
    }
    return result if one.token is None else {**result, "token": one.token}
