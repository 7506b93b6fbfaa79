"""Forms that create and delete robots of an organization or of the caller, and replace tokens."""

from __future__ import annotations

from typing import Any

from atoll.web.panel.login_lines import LoginLines
from atoll.web.panel.page import Shown, form, page
from atoll.web.panel.robot_owner import RobotOwner
from atoll.web.panel.visit import Visit

_ONE = "/{robot_shortname}"


class NewRobot:
    """`/organization/{orgname}/robots/new` and `/user/{username}/robots/new`."""

    def __init__(self, logins: LoginLines) -> None:
        self._logins = logins

    @page("robot_new.html.j2")
    def on_get(
        self, visit: Visit, orgname: str | None = None, username: str | None = None
    ) -> dict[str, Any]:
        """Show the form."""
        owner = RobotOwner.of(visit, orgname, username)
        visit.require_changes()
        # Only administrators may list robots.
        owner.robots(visit)
        return {"owner": owner}

    @form()
    def on_post(
        self, visit: Visit, orgname: str | None = None, username: str | None = None
    ) -> Shown:
        """Create the robot and show its token."""
        owner = RobotOwner.of(visit, orgname, username)
        body = {"description": visit.form.get("description", "").strip()}
        name = visit.form.get("name", "").strip()
        robot = owner.api(visit, "PUT", _ONE, body=body, robot_shortname=name)
        return _token(self._logins, owner, robot, "created")


class RobotToken:
    """`.../robots/{robot_shortname}/regenerate`."""

    def __init__(self, logins: LoginLines) -> None:
        self._logins = logins

    @page("robot_change.html.j2")
    def on_get(
        self,
        visit: Visit,
        robot_shortname: str,
        orgname: str | None = None,
        username: str | None = None,
    ) -> dict[str, Any]:
        """Ask for the confirmation."""
        owner = RobotOwner.of(visit, orgname, username)
        return _confirmation(visit, owner, robot_shortname, "regenerate")

    @form()
    def on_post(
        self,
        visit: Visit,
        robot_shortname: str,
        orgname: str | None = None,
        username: str | None = None,
    ) -> Shown:
        """Replace the token and show the new one."""
        owner = RobotOwner.of(visit, orgname, username)
        _confirm(visit, owner, robot_shortname)
        path = f"{_ONE}/regenerate"
        robot = owner.api(visit, "POST", path, robot_shortname=robot_shortname)
        return _token(self._logins, owner, robot, "regenerated")


class RobotDeletion:
    """`.../robots/{robot_shortname}/delete`."""

    @page("robot_change.html.j2")
    def on_get(
        self,
        visit: Visit,
        robot_shortname: str,
        orgname: str | None = None,
        username: str | None = None,
    ) -> dict[str, Any]:
        """Ask for the confirmation."""
        owner = RobotOwner.of(visit, orgname, username)
        return _confirmation(visit, owner, robot_shortname, "delete")

    @form()
    def on_post(
        self,
        visit: Visit,
        robot_shortname: str,
        orgname: str | None = None,
        username: str | None = None,
    ) -> str:
        """Delete the robot."""
        owner = RobotOwner.of(visit, orgname, username)
        _confirm(visit, owner, robot_shortname)
        owner.api(visit, "DELETE", _ONE, robot_shortname=robot_shortname)
        return f"{owner.page}?tab=robots"


def _confirmation(visit: Visit, owner: RobotOwner, short: str, change: str) -> dict[str, Any]:
    visit.require_changes()
    robot = owner.api(visit, "GET", _ONE, robot_shortname=short)
    return {
        "owner": owner,
        "change": change,
        "robot": {"name": robot["name"], "short": short, "description": robot["description"]},
    }


def _confirm(visit: Visit, owner: RobotOwner, short: str) -> None:
    """Require the name of the robot and a fresh login."""
    visit.require_changes()
    visit.require_name("robot", f"{owner.name}+{short}")
    visit.require_fresh_login()


def _token(logins: LoginLines, owner: RobotOwner, robot: dict[str, Any], change: str) -> Shown:
    credentials = logins.shown(robot["name"], robot["token"])
    return Shown("robot_token.html.j2", {**credentials, "owner": owner, "change": change})
