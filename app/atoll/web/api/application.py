"""`organization/{orgname}/applications`: OAuth applications, which request tokens from users."""

from __future__ import annotations

from typing import Any, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from atoll.auth.applications import Application, Applications
from atoll.auth.organization_roles import Organization
from atoll.web.api.namespaces import Namespaces
from atoll.web.api.operation import Call, RequestModel, operation
from atoll.web.api.schemas import avatar


class ApplicationDetails(RequestModel):
    """The details of an application to create or update."""

    name: str = Field(min_length=1, max_length=255)
    redirect_uri: str | None = Field(default=None, max_length=4096)
    application_uri: str | None = Field(default=None, max_length=4096)
    description: str | None = Field(default=None, max_length=65536)
    avatar_email: str | None = Field(default=None, max_length=320)

    def details(self) -> dict[str, str | None]:
        """Return all fields except the name."""
        return self.model_dump(exclude={"name"})


class ApplicationSchema(TypedDict):
    """An application; `client_secret` is for administrators of the organization."""

    name: str
    description: str
    application_uri: str
    client_id: str
    client_secret: NotRequired[str]
    redirect_uri: str
    avatar_email: str | None


class ApplicationList:
    """`organization/{orgname}/applications`."""

    def __init__(self, applications: Applications, namespaces: Namespaces) -> None:
        self._applications = applications
        self._namespaces = namespaces

    @operation(
        "getOrganizationApplications",
        response=dict[str, list[ApplicationSchema]],
        scope="org:admin",
    )
    def on_get(self, call: Call, orgname: str) -> Any:
        """List the applications of an organization."""
        organization = self._namespaces.require_admin(call, orgname)
        secret = _shows_secret(call, organization)
        found = self._applications.list(orgname)
        return {"applications": [_serialize(one, secret=secret) for one in found]}

    @operation(
        "createOrganizationApplication",
        body=ApplicationDetails,
        response=ApplicationSchema,
        scope="org:admin",
    )
    def on_post(self, call: Call, orgname: str) -> Any:
        """Create an application."""
        self._namespaces.require_admin(call, orgname)
        new: ApplicationDetails = call.body
        created = self._applications.create(orgname, new.name, new.details())
        call.log(
            "create_application",
            orgname,
            application_name=created.name,
            client_id=created.client_id,
        )
        return _serialize(created, secret=not call.actor.read_only)


class ApplicationResource:
    """`organization/{orgname}/applications/{client_id}`."""

    def __init__(self, applications: Applications, namespaces: Namespaces) -> None:
        self._applications = applications
        self._namespaces = namespaces

    @operation("getOrganizationApplication", response=ApplicationSchema, scope="org:admin")
    def on_get(self, call: Call, orgname: str, client_id: str) -> Any:
        """Get an application."""
        organization = self._namespaces.require_admin(call, orgname)
        one = self._applications.get(client_id, orgname)
        return _serialize(one, secret=_shows_secret(call, organization))

    @operation(
        "updateOrganizationApplication",
        body=ApplicationDetails,
        response=ApplicationSchema,
        scope="org:admin",
    )
    def on_put(self, call: Call, orgname: str, client_id: str) -> Any:
        """Update an application."""
        organization = self._namespaces.require_admin(call, orgname)
        change: ApplicationDetails = call.body
        changed = self._applications.change(orgname, client_id, change.name, change.details())
        call.log("update_application", orgname, application_name=changed.name, client_id=client_id)
        return _serialize(changed, secret=_shows_secret(call, organization))

    @operation("deleteOrganizationApplication", status=204, scope="org:admin")
    def on_delete(self, call: Call, orgname: str, client_id: str) -> None:
        """Delete an application and revoke its tokens."""
        self._namespaces.require_admin(call, orgname)
        name = self._applications.delete(orgname, client_id)
        call.log("delete_application", orgname, application_name=name, client_id=client_id)


class ApplicationSecret:
    """`organization/{orgname}/applications/{client_id}/resetclientsecret`."""

    def __init__(self, applications: Applications, namespaces: Namespaces) -> None:
        self._applications = applications
        self._namespaces = namespaces

    @operation(
        "resetOrganizationApplicationClientSecret", response=ApplicationSchema, scope="org:admin"
    )
    def on_post(self, call: Call, orgname: str, client_id: str) -> Any:
        """Generate a new secret for an application."""
        self._namespaces.require_admin(call, orgname)
        changed = self._applications.reset_secret(orgname, client_id)
        call.log(
            "reset_application_client_secret",
            orgname,
            application_name=changed.name,
            client_id=client_id,
        )
        return _serialize(changed, secret=not call.actor.read_only)


class ApplicationInformation:
    """`app/{client_id}`: public information about an application."""

    def __init__(self, applications: Applications) -> None:
        self._applications = applications

    @operation("getApplicationInformation", anonymous=True)
    def on_get(self, call: Call, client_id: str) -> Any:
        """Get the public information about an application."""
        del call
        one = self._applications.get(client_id)
        return {
            "name": one.name,
            "description": one.description,
            "uri": one.application_uri,
            "avatar": avatar(one.name, "app"),
            "organization": {"name": one.organization, "avatar": avatar(one.organization, "org")},
        }


def _shows_secret(call: Call, organization: Organization) -> bool:
    """Return whether the caller may read secrets of the organization's applications.

    Superusers who do not belong to the organization reset a secret instead, which is audited.
    """
    return organization.is_admin and not call.actor.read_only


def _serialize(one: Application, *, secret: bool) -> ApplicationSchema:
    result: ApplicationSchema = {
        "name": one.name,
        "description": one.description,
        "application_uri": one.application_uri,
        "client_id": one.client_id,
        "redirect_uri": one.redirect_uri,
        "avatar_email": one.avatar_email,
    }
    return {**result, "client_secret": one.client_secret} if secret else result
