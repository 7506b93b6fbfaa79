#!/usr/bin/python
"""Ansible module: what somebody may do with a repository."""

from __future__ import annotations

DOCUMENTATION = r"""
module: permission
short_description: Give or take a role on a repository
description:
  - A robot is named as a user, by its login, as V(payments+ci).
version_added: 0.1.0
options:
  repository:
    description: Name of the repository, with its namespace.
    type: str
    required: true
  user:
    description: The user or robot. Give either this or O(team).
    type: str
  team:
    description: The team, of the organization whose repository it is.
    type: str
  role:
    description: V(read) may pull, V(write) also push, V(admin) also say who may.
    type: str
    choices: [read, write, admin]
    default: read
  state:
    description: V(absent) takes the role away, whichever it is.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - atoll.registry.registry_api
"""

EXAMPLES = r"""
- name: Let the robot of the builds push
  atoll.registry.permission:
    registry_url: https://registry.example.com
    username: admin
    password: "{{ registry_superuser_password }}"
    repository: payments/terminal
    user: payments+ci
    role: write

- name: Let a user pull
  atoll.registry.permission:
    registry_url: https://registry.example.com
    username: admin
    password: "{{ registry_superuser_password }}"
    repository: payments/terminal
    user: alice

- name: Take a user's role away
  atoll.registry.permission:
    registry_url: https://registry.example.com
    username: admin
    password: "{{ registry_superuser_password }}"
    repository: payments/terminal
    user: bob
    state: absent
"""

RETURN = r"""
permission:
  description: The permission, with C(name) and C(role).
  returned: when the permission is to be there
  type: dict
"""

from ansible_collections.atoll.registry.plugins.module_utils.registry_api import (
    Entity,
    registry_module,
    run,
)


class Permission(Entity):
    """What a user, a robot or a team has on a repository."""

    def look(self):
        """Return what there is."""
        name = self.params["repository"]
        listed = self.api.get_of_repository(name, "permissions", self._kind())
        found = (listed or {"permissions": {}})["permissions"].get(self._who())
        return {"name": found["name"], "role": found["role"]} if found else None

    def wanted(self):
        """Return what was asked for."""
        return {"role": self.params["role"]}

    def create(self):
        """Give the role."""
        self.change(self.wanted())

    def change(self, differing):
        """Give another role."""
        self.api.send("PUT", *self._path(), body={"role": differing["role"]})

    def remove(self):
        """Take the role away."""
        self.api.send("DELETE", *self._path())

    def _path(self):
        repository = ("repository", self.params["repository"])
        return (*repository, "permissions", self._kind(), self._who())

    def _kind(self):
        return "team" if self.params["team"] else "user"

    def _who(self):
        return self.params["team"] or self.params["user"]


def main():
    """Bring the permission to the wanted state."""
    arguments = {
        "repository": {"type": "str", "required": True},
        "user": {"type": "str"},
        "team": {"type": "str"},
        "role": {"type": "str", "choices": ["read", "write", "admin"], "default": "read"},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    }
    run(registry_module(arguments, one_of=("user", "team")), "permission", Permission)


if __name__ == "__main__":
    main()
