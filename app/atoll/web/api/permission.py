"""`repository/{repository}/permissions/user/` and `…/team/`: one class for both kinds."""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from atoll.auth.access import ADMIN
from atoll.auth.permissions import TEAM, Permission, Permissions
from atoll.web.api.operation import Call, RequestModel, operation
from atoll.web.api.schemas import Avatar, avatar, member


class PermissionChange(RequestModel):
    """A role."""

    role: Literal["read", "write", "admin"]


class PermissionSchema(TypedDict):
    """What a user, a robot or a team has on a repository."""

    role: str
    name: str
    avatar: Avatar
    kind: NotRequired[str]
    is_robot: NotRequired[bool]


class PermissionList:
    """`repository/{repository}/permissions/user/` or `…/team/`, by KIND."""

    def __init__(self, permissions: Permissions, kind: str) -> None:
        self._permissions = permissions
        self._kind = kind

    @operation(
        "listRepoPermissions", response=dict[str, dict[str, PermissionSchema]], scope="repo:admin"
    )
    def on_get(self, call: Call) -> Any:
        """List who has a permission on a repository."""
        found = self._permissions.list(call.require(ADMIN), self._kind)
        return {"permissions": {one.delegate: serialize_permission(one) for one in found}}


class PermissionResource:
    """`repository/{repository}/permissions/user/{delegate}` or `…/team/{delegate}`, by KIND."""

    def __init__(self, permissions: Permissions, kind: str) -> None:
        self._permissions = permissions
        self._kind = kind

    @operation("getPermission", response=PermissionSchema, scope="repo:admin")
    def on_get(self, call: Call, delegate: str) -> Any:
        """Show what one has on a repository."""
        return serialize_permission(
            self._permissions.get(call.require(ADMIN), self._kind, delegate)
        )

    @operation(
        "changePermission", body=PermissionChange, response=PermissionSchema, scope="repo:admin"
    )
    def on_put(self, call: Call, delegate: str) -> Any:
        """Give one a role on a repository."""
        name = call.require(ADMIN)
        self._permissions.put(name, self._kind, delegate, call.body.role)
        call.log("change_repo_permission", name.namespace, delegate=delegate, role=call.body.role)
        return serialize_permission(self._permissions.get(name, self._kind, delegate))

    @operation("deletePermission", status=204, scope="repo:admin")
    def on_delete(self, call: Call, delegate: str) -> None:
        """Take one's permission on a repository away."""
        name = call.require(ADMIN)
        self._permissions.delete(name, self._kind, delegate)
        call.log("delete_repo_permission", name.namespace, delegate=delegate)


class TransitivePermissions:
    """`repository/{repository}/permissions/user/{username}/transitive`."""

    def __init__(self, permissions: Permissions) -> None:
        self._permissions = permissions

    @operation(
        "getUserTransitivePermission",
        response=dict[str, list[dict[str, str]]],
        scope="repo:admin",
    )
    def on_get(self, call: Call, username: str) -> Any:
        """List what a user has on a repository, also by teams."""
        roles = self._permissions.transitive(call.require(ADMIN), username)
        return {"permissions": [{"role": role} for role in roles]}


def serialize_permission(permission: Permission) -> PermissionSchema:
    """Return a permission as the API shows it."""
    if permission.kind == TEAM:
        return {
            "role": permission.role,
            "name": permission.delegate,
            "avatar": avatar(permission.delegate, TEAM),
        }
    return {
        "role": permission.role,
        **member(permission.delegate, is_robot=permission.is_robot),
    }
