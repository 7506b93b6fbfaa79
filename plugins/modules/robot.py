#!/usr/bin/python
"""Ansible module: manage a robot account of the registry."""

from __future__ import annotations

DOCUMENTATION = r"""
module: robot
short_description: Manage a robot account of the registry
description:
  - Creates or removes a robot account, which is a login for programs, such as V(payments+ci).
  - To replace the token of a robot, remove the robot and create it again.
version_added: 0.1.0
options:
  name:
    description: Name of the robot, without the namespace and the plus sign.
    type: str
    required: true
  organization:
    description:
      - The organization that owns the robot. By default, the user that logs in owns it.
    type: str
  description:
    description: Description of a new robot. The description of an existing robot is not changed.
    type: str
  state:
    description: Whether the robot exists.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - atoll.registry.registry_api
"""

EXAMPLES = r"""
- name: Ensure a robot for the builds is present
  atoll.registry.robot:
    registry_url: https://registry.example.com
    username: admin
    password: "{{ registry_superuser_password }}"
    organization: payments
    name: ci
    description: Pushes the images of builds
  register: registry_robot
  no_log: true

- name: Ensure a robot is absent
  atoll.registry.robot:
    registry_url: https://registry.example.com
    username: admin
    password: "{{ registry_superuser_password }}"
    organization: payments
    name: former
    state: absent
"""

RETURN = r"""
robot:
  description: The robot, with C(name) (the login, such as C(payments+ci)) and C(description).
  returned: when state is present
  type: dict
robot_token:
  description: The password of the robot. Set C(no_log) on a task that registers it.
  returned: when state is present, except in check mode if the robot does not exist
  type: str
"""

from typing import Any

from ansible_collections.atoll.registry.plugins.module_utils.registry_api import (
    Entity,
    registry_module,
    run,
)


class Robot(Entity):
    """A robot of an organization or of a user."""

    def read(self) -> dict[str, Any] | None:
        """Return the current state."""
        listed = self.api.get(*self._robots(), query={"token": "false"})
        robots = {
            one["name"].partition("+")[2]: one for one in (listed or {"robots": []})["robots"]
        }
        found = robots.get(self.params["name"])
        return {"name": found["name"], "description": found["description"]} if found else None

    def wanted(self) -> dict[str, Any]:
        """Return nothing, because a robot cannot be changed."""
        return {}

    def create(self) -> None:
        """Create the robot."""
        body = {"description": self.params["description"] or ""}
        self.api.send("PUT", *self._robots(), self.params["name"], body=body)

    def remove(self) -> None:
        """Remove the robot."""
        self.api.send("DELETE", *self._robots(), self.params["name"])

    def more(self) -> dict[str, Any]:
        """Return the token of an existing robot."""
        if self.params["state"] == "absent" or self.read() is None:
            return {}
        robot = self.api.send("GET", *self._robots(), self.params["name"])
        return {"robot_token": robot["token"]} if "token" in robot else {}

    def _robots(self) -> tuple[str, ...]:
        organization = self.params["organization"]
        return ("organization", organization, "robots") if organization else ("user", "robots")


def main() -> None:
    """Bring the robot to the desired state."""
    arguments = {
        "name": {"type": "str", "required": True},
        "organization": {"type": "str"},
        "description": {"type": "str"},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    }
    run(registry_module(arguments), "robot", Robot)


if __name__ == "__main__":
    main()
