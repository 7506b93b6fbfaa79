"""`repository/{repository}/permissions/user/` and `…/team/`: permissions on a repository."""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from atoll.auth.access import ADMIN
from atoll.auth.permissions import TEAM, Permission, Permissions
from atoll.web.api.operation import Call, RequestModel, operation
from atoll.web.api.schemas import Avatar, avatar, member


class PermissionChange(RequestModel):
    """The new role."""

    role: Literal["read", "write", "admin"]


class PermissionSchema(TypedDict):
    """The permission of a user, robot or team on a repository."""

    role: str
    name: str
    avatar: Avatar
    kind: NotRequired[str]
    is_robot: NotRequired[bool]


class PermissionList:
    """`repository/{repository}/permissions/user/` or `…/team/`, depending on the kind."""

    def __init__(self, permissions: Permissions, kind: str) -> None:
        self._permissions = permissions
        self._kind = kind

    @operation(
        "listRepoPermissions", response=dict[str, dict[str, PermissionSchema]], scope="repo:admin"
    )
    def on_get(self, call: Call) -> Any:
        """List the permissions on a repository."""
        found = self._permissions.list(call.require(ADMIN), self._kind)
        return {"permissions": {one.delegate: serialize_permission(one) for one in found}}


class PermissionResource:
    """`repository/{repository}/permissions/user/{delegate}` or `…/team/{delegate}`."""

    def __init__(self, permissions: Permissions, kind: str) -> None:
        self._permissions = permissions
        self._kind = kind

    @operation("getPermission", response=PermissionSchema, scope="repo:admin")
    def on_get(self, call: Call, delegate: str) -> Any:
        """Get the permission of a user, robot or team on a repository."""
        return serialize_permission(
            self._permissions.get(call.require(ADMIN), self._kind, delegate)
        )

    @operation(
        "changePermission", body=PermissionChange, response=PermissionSchema, scope="repo:admin"
    )
    def on_put(self, call: Call, delegate: str) -> Any:
        """Grant a user, robot or team a role on a repository."""
        name = call.require(ADMIN)
        self._permissions.put(name, self._kind, delegate, call.body.role)
        call.log("change_repo_permission", name.namespace, delegate=delegate, role=call.body.role)
        return serialize_permission(self._permissions.get(name, self._kind, delegate))

    @operation("deletePermission", status=204, scope="repo:admin")
    def on_delete(self, call: Call, delegate: str) -> None:
        """Revoke a permission on a repository."""
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
        """List a user's roles on a repository, including those of the user's teams."""
        roles = self._permissions.transitive(call.require(ADMIN), username)
        return {"permissions": [{"role": role} for role in roles]}


def serialize_permission(permission: Permission) -> PermissionSchema:
    """Return the response schema of a permission."""
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
