"""`organization/{orgname}/prototypes`: default permissions on new repositories."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from pydantic import Field
from typing_extensions import TypedDict

from atoll.auth.permissions import TEAM, USER, Prototype, Prototypes
from atoll.web.api.namespaces import Namespaces
from atoll.web.api.operation import Call, RequestModel, operation
from atoll.web.api.schemas import Member, member

_Role = Literal["read", "write", "admin"]


class ActivatingUser(RequestModel):
    """The creator of repositories to which the default permission is limited."""

    name: str | None = Field(default=None, max_length=255)


class Delegate(RequestModel):
    """The user or team that gets the permission."""

    name: str = Field(max_length=255)
    kind: Literal["user", "team"]


class NewPrototype(RequestModel):
    """A default permission to create."""

    role: _Role
    activating_user: ActivatingUser | None = None
    delegate: Delegate


class PrototypeChange(RequestModel):
    """The new role."""

    role: _Role


class PrototypeSchema(TypedDict):
    """A default permission."""

    id: str
    role: str
    activating_user: Member | None
    delegate: Member


class PrototypeList:
    """`organization/{orgname}/prototypes`."""

    def __init__(self, prototypes: Prototypes, namespaces: Namespaces) -> None:
        self._prototypes = prototypes
        self._namespaces = namespaces

    @operation(
        "getOrganizationPrototypePermissions",
        response=dict[str, list[PrototypeSchema]],
        scope="org:admin",
    )
    def on_get(self, call: Call, orgname: str) -> Any:
        """List the default permissions of an organization."""
        self._namespaces.require_admin(call, orgname)
        return {"prototypes": [_serialize(one) for one in self._prototypes.list(orgname)]}

    @operation(
        "createOrganizationPrototypePermission",
        body=NewPrototype,
        response=PrototypeSchema,
        scope="org:admin",
    )
    def on_post(self, call: Call, orgname: str) -> Any:
        """Create a default permission."""
        self._namespaces.require_admin(call, orgname)
        new: NewPrototype = call.body
        activating = new.activating_user.name if new.activating_user else None
        created = self._prototypes.create(
            orgname, new.role, activating, new.delegate.kind, new.delegate.name
        )
        call.log("create_prototype_permission", orgname, delegate=new.delegate.name, role=new.role)
        return _serialize(created)


class PrototypeResource:
    """`organization/{orgname}/prototypes/{uuid}`."""

    def __init__(self, prototypes: Prototypes, namespaces: Namespaces) -> None:
        self._prototypes = prototypes
        self._namespaces = namespaces

    @operation(
        "updateOrganizationPrototypePermission",
        body=PrototypeChange,
        response=PrototypeSchema,
        scope="org:admin",
    )
    def on_put(self, call: Call, orgname: str, uuid: UUID) -> Any:
        """Change the role of a default permission."""
        self._namespaces.require_admin(call, orgname)
        changed = self._prototypes.change(orgname, uuid, call.body.role)
        call.log("modify_prototype_permission", orgname, prototype=str(uuid), role=call.body.role)
        return _serialize(changed)

    @operation("deleteOrganizationPrototypePermission", status=204, scope="org:admin")
    def on_delete(self, call: Call, orgname: str, uuid: UUID) -> None:
        """Delete a default permission."""
        self._namespaces.require_admin(call, orgname)
        self._prototypes.delete(orgname, uuid)
        call.log("delete_prototype_permission", orgname, prototype=str(uuid))


def _serialize(prototype: Prototype) -> PrototypeSchema:
    activating = None
    if prototype.activating_user is not None:
        activating = member(prototype.activating_user, is_robot=prototype.activating_is_robot)
    return {
        "id": str(prototype.uuid),
        "role": prototype.role,
        "activating_user": activating,
        "delegate": member(
            prototype.delegate,
            is_robot=prototype.delegate_is_robot,
            kind=TEAM if prototype.delegate_is_team else USER,
        ),
    }
