"""`user/assignedauthorizations`: authorizations that administrators request from users."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pydantic import Field
from typing_extensions import TypedDict

from atoll.auth.api_tokens import SCOPES
from atoll.auth.assigned_authorizations import AssignedAuthorizations, Assignment
from atoll.web.api.namespaces import Namespaces
from atoll.web.api.oauth import AuthorizationRequest, AuthorizationRequests, require_user
from atoll.web.api.operation import Call, operation
from atoll.web.api.schemas import avatar


class AssignmentRequest(AuthorizationRequest):
    """An authorization to request, and the user to request it from."""

    username: str = Field(min_length=1, max_length=255)


class AssignedAuthorizationSchema(TypedDict):
    """A requested authorization."""

    uuid: str
    application: dict[str, Any]
    redirectUri: str
    scopes: list[dict[str, str]]
    responseType: str


class AssignUser:
    """`/oauth/authorize/assignuser`: request an authorization from a user."""

    def __init__(
        self,
        assigned: AssignedAuthorizations,
        requests: AuthorizationRequests,
        namespaces: Namespaces,
    ) -> None:
        self._assigned = assigned
        self._requests = requests
        self._namespaces = namespaces

    @operation(
        "assignUserToApplication",
        body=AssignmentRequest,
        scope="org:admin",
        body_in_query=True,
        form=True,
    )
    def on_post(self, call: Call) -> Any:
        """Request an authorization from a user. The caller must administer the organization."""
        request: AssignmentRequest = call.body
        application, scopes = self._requests.check(call, request)
        self._namespaces.require_admin(call, application.organization)
        self._assigned.assign(request.username, application.client_id, request.redirect_uri, scopes)
        call.log(
            "create_oauth_assignment",
            application.organization,
            assigned_user=request.username,
            client_id=application.client_id,
            scope=" ".join(scopes),
        )
        return {"message": "Token assigned successfully"}


class AssignedAuthorizationList:
    """`user/assignedauthorizations`."""

    def __init__(self, assigned: AssignedAuthorizations) -> None:
        self._assigned = assigned

    @operation(
        "listAssignedAuthorizations",
        response=dict[str, list[AssignedAuthorizationSchema]],
        scope="user:read",
    )
    def on_get(self, call: Call) -> Any:
        """List the authorizations that were requested from the caller."""
        return {"authorizations": [_serialize(one) for one in self._assigned.list(call.actor.id)]}


class AssignedAuthorizationResource:
    """`user/assignedauthorizations/{uuid}`."""

    def __init__(self, assigned: AssignedAuthorizations) -> None:
        self._assigned = assigned

    @operation("deleteAssignedAuthorization", status=204, scope="user:admin")
    def on_delete(self, call: Call, uuid: UUID) -> None:
        """Decline a requested authorization."""
        declined = self._assigned.answer(require_user(call).id, uuid)
        call.log(
            "delete_oauth_assignment",
            declined.organization,
            assigned_user=call.actor.username,
            client_id=declined.client_id,
        )


def _serialize(one: Assignment) -> AssignedAuthorizationSchema:
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
