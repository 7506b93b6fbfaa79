#!/usr/bin/python
"""Ansible module: a robot of the registry."""

from __future__ import annotations

DOCUMENTATION = r"""
module: robot
short_description: Make or remove a robot of the registry
description:
  - A robot is a login for programs, as V(payments+ci).
  - To give it a new token, remove it and make it anew.
version_added: 0.1.0
options:
  name:
    description: Name of the robot in its namespace, without that and the plus sign.
    type: str
    required: true
  organization:
    description: The organization whose robot it is. Without one it is the robot of who logs in.
    type: str
  description:
    description: What it is for. A robot that is there keeps what it has.
    type: str
  state:
    description: Whether it is to be there.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - atoll.registry.registry_api
"""

EXAMPLES = r"""
- name: Make a robot for the builds
  atoll.registry.robot:
    registry_url: https://registry.example.com
    username: admin
    password: "{{ registry_superuser_password }}"
    organization: payments
    name: ci
    description: pushes what was built
  register: registry_robot
  no_log: true

- name: Remove one that is not needed any more
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
  description: The robot, with C(name) (the login, as C(payments+ci)) and C(description).
  returned: when the robot is to be there
  type: dict
robot_token:
  description: The robot's password. Register it with C(no_log).
  returned: when the robot is to be there, and is
  type: str
"""

from ansible_collections.atoll.registry.plugins.module_utils.registry_api import (
    Entity,
    registry_module,
    run,
)


class Robot(Entity):
    """A robot of an organization or of a user."""

    def look(self):
        """Return what there is."""
        listed = self.api.get(*self._robots(), query={"token": "false"})
        robots = {
            one["name"].partition("+")[2]: one for one in (listed or {"robots": []})["robots"]
        }
        found = robots.get(self.params["name"])
        return {"name": found["name"], "description": found["description"]} if found else None

    def wanted(self):
        """Nothing of a robot can be changed."""
        return {}

    def create(self):
        """Make the robot."""
        body = {"description": self.params["description"] or ""}
        self.api.send("PUT", *self._robots(), self.params["name"], body=body)

    def remove(self):
        """Remove the robot."""
        self.api.send("DELETE", *self._robots(), self.params["name"])

    def more(self):
        """Return the token of a robot that is there."""
        if self.params["state"] == "absent" or self.look() is None:
            return {}
        robot = self.api.send("GET", *self._robots(), self.params["name"])
        return {"robot_token": robot["token"]} if "token" in robot else {}

    def _robots(self):
        organization = self.params["organization"]
        return ("organization", organization, "robots") if organization else ("user", "robots")


def main():
    """Bring the robot to the wanted state."""
    arguments = {
        "name": {"type": "str", "required": True},
        "organization": {"type": "str"},
        "description": {"type": "str"},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    }
    run(registry_module(arguments), "robot", Robot)


if __name__ == "__main__":
    main()
