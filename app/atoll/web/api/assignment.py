"""`user/assignedauthorizations`, and how an administrator asks a user for one."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pydantic import Field
from typing_extensions import TypedDict

from atoll.auth.api_tokens import SCOPES
from atoll.auth.assigned_authorizations import AssignedAuthorizations, Assignment
from atoll.web.api.namespaces import Namespaces
from atoll.web.api.oauth import Authorization, Redirects, person
from atoll.web.api.operation import Call, operation
from atoll.web.api.schemas import avatar


class AssignmentBody(Authorization):
    """What a program is to be given, and by whom."""

    username: str = Field(min_length=1, max_length=255)


class AssignedSchema(TypedDict):
    """What a user was asked."""

    uuid: str
    application: dict[str, Any]
    redirectUri: str
    scopes: list[dict[str, str]]
    responseType: str


class AssignUser:
    """`/oauth/authorize/assignuser`: ask a user to give an application a token."""

    def __init__(
        self, assigned: AssignedAuthorizations, redirects: Redirects, namespaces: Namespaces
    ) -> None:
        self._assigned = assigned
        self._redirects = redirects
        self._namespaces = namespaces

    @operation(
        "assignUserToApplication",
        body=AssignmentBody,
        scope="org:admin",
        body_in_query=True,
        form=True,
    )
    def on_post(self, call: Call) -> Any:
        """Allow a user to authorize an application. Requires its organization's administrator."""
        asked: AssignmentBody = call.body
        application, scopes = self._redirects.checked(call, asked)
        self._namespaces.administered(call, application.organization)
        self._assigned.assign(asked.username, application.client_id, asked.redirect_uri, scopes)
        call.log(
            "create_oauth_assignment",
            application.organization,
            assigned_user=asked.username,
            client_id=application.client_id,
            scope=" ".join(scopes),
        )
        return {"message": "Token assigned successfully"}


class AssignedList:
    """`user/assignedauthorizations`."""

    def __init__(self, assigned: AssignedAuthorizations) -> None:
        self._assigned = assigned

    @operation(
        "listAssignedAuthorizations", response=dict[str, list[AssignedSchema]], scope="user:read"
    )
    def on_get(self, call: Call) -> Any:
        """List the applications that one was asked to give a token."""
        return {"authorizations": [_serialize(one) for one in self._assigned.list(call.actor.id)]}


class AssignedResource:
    """`user/assignedauthorizations/{uuid}`."""

    def __init__(self, assigned: AssignedAuthorizations) -> None:
        self._assigned = assigned

    @operation("deleteAssignedAuthorization", status=204, scope="user:admin")
    def on_delete(self, call: Call, uuid: UUID) -> None:
        """Say no."""
        refused = self._assigned.answer(person(call).id, uuid)
        call.log(
            "delete_oauth_assignment",
            refused.organization,
            assigned_user=call.actor.username,
            client_id=refused.client_id,
        )


def _serialize(one: Assignment) -> AssignedSchema:
    return {
        "uuid": str(one.uuid),
        "application": {
            "name": one.application,
            "clientId": one.client_id,
            "description": one.description,
            "url": one.application_uri,
            "avatar": avatar(one.application, "app"),
            "organization": {"name": one.organization, "avatar": avatar(one.organization, "org")},
        },
        "redirectUri": one.redirect_uri,
        "scopes": [
            {"scope": scope, "description": SCOPES.get(scope, "")} for scope in one.scope.split()
        ],
        "responseType": "token",
    }
