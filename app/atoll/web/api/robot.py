"""`organization/{orgname}/robots` and `user/robots`: robot accounts of a namespace."""

from __future__ import annotations

from typing import Any, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from atoll.auth.robots import Robot, Robots
from atoll.web.api.namespaces import Namespaces
from atoll.web.api.operation import Call, RequestModel, operation
from atoll.web.api.schemas import http_date


class NewRobot(RequestModel):
    """A robot to create."""

    description: str = Field(default="", max_length=255)


class RobotSchema(TypedDict):
    """A robot; `token` is present on request only, and null if it must be regenerated."""

    name: str
    created: str | None
    description: str
    unstructured_metadata: dict[str, Any]
    token: NotRequired[str | None]


class RobotQuery(RequestModel):
    """The level of detail."""

    token: bool = True


class _RobotBase:
    """Base of the resources: finds the namespace, which the caller must administer."""

    def __init__(self, robots: Robots, namespaces: Namespaces) -> None:
        self._robots = robots
        self._namespaces = namespaces

    def _owner(self, call: Call, orgname: str | None) -> str:
        return self._owner_and_token_access(call, orgname)[0]

    def _owner_and_token_access(self, call: Call, orgname: str | None) -> tuple[str, bool]:
        """Return the namespace, and whether the caller may read the tokens of its robots.

        A token permits pushes, so auditors may not read it. Superusers who do not belong to the
        organization create or regenerate one instead, which is audited.
        """
        if orgname is not None:
            organization = self._namespaces.require_admin(call, orgname)
            return organization.name, organization.is_admin and not call.actor.read_only
        if call.actor.robot_owner is not None:
            raise call.forbidden()
        return call.actor.username, not call.actor.read_only


class RobotList(_RobotBase):
    """`organization/{orgname}/robots`."""

    @operation(
        "getOrgRobots", query=RobotQuery, response=dict[str, list[RobotSchema]], scope="org:admin"
    )
    def on_get(self, call: Call, orgname: str | None = None) -> Any:
        """List the robots of a namespace."""
        owner, may_read_token = self._owner_and_token_access(call, orgname)
        robots = self._robots.list(owner)
        return {
            "robots": [
                _serialize(robot, token=call.query.token and may_read_token) for robot in robots
            ]
        }


class RobotResource(_RobotBase):
    """`organization/{orgname}/robots/{robot_shortname}`."""

    @operation("getOrgRobot", response=RobotSchema, scope="org:admin")
    def on_get(self, call: Call, robot_shortname: str, orgname: str | None = None) -> Any:
        """Get a robot and its token."""
        owner, may_read_token = self._owner_and_token_access(call, orgname)
        return _serialize(self._robots.get(owner, robot_shortname), token=may_read_token)

    @operation("createOrgRobot", body=NewRobot, status=201, response=RobotSchema, scope="org:admin")
    def on_put(self, call: Call, robot_shortname: str, orgname: str | None = None) -> Any:
        """Create a robot."""
        owner = self._owner(call, orgname)
        robot = self._robots.create(owner, robot_shortname, call.body.description)
        call.log("create_robot", owner, robot=robot_shortname)
        return _serialize(robot)

    @operation("deleteOrgRobot", status=204, scope="org:admin")
    def on_delete(self, call: Call, robot_shortname: str, orgname: str | None = None) -> None:
        """Delete a robot."""
        owner = self._owner(call, orgname)
        self._robots.delete(owner, robot_shortname)
        call.log("delete_robot", owner, robot=robot_shortname)


class RegenerateRobot(_RobotBase):
    """`organization/{orgname}/robots/{robot_shortname}/regenerate`."""

    @operation("regenerateOrgRobotToken", response=RobotSchema, scope="org:admin")
    def on_post(self, call: Call, robot_shortname: str, orgname: str | None = None) -> Any:
        """Regenerate the token of a robot."""
        owner = self._owner(call, orgname)
        robot = self._robots.regenerate(owner, robot_shortname)
        call.log("regenerate_robot_token", owner, robot=robot_shortname)
        return _serialize(robot)


class RobotPermissions(_RobotBase):
    """`organization/{orgname}/robots/{robot_shortname}/permissions`."""

    @operation("getOrgRobotPermissions", scope="org:admin")
    def on_get(self, call: Call, robot_shortname: str, orgname: str | None = None) -> Any:
        """List the repositories on which a robot has a permission."""
        owner = self._owner(call, orgname)
        self._robots.get(owner, robot_shortname)
        return {
            "permissions": [
                {"repository": {"name": name, "is_public": public}, "role": role}
                for name, role, public in self._robots.permissions(owner, robot_shortname)
            ]
        }


def _serialize(robot: Robot, *, token: bool = True) -> RobotSchema:
    result: RobotSchema = {
        "name": robot.name,
        "created": http_date(robot.created_at),
        "description": robot.description,
        "unstructured_metadata": {},
    }
    return {**result, "token": robot.token} if token else result
