#!/usr/bin/python
"""Ansible module: manage a permission on a repository."""

from __future__ import annotations

DOCUMENTATION = r"""
module: permission
short_description: Manage the role of a user, robot or team on a repository
description:
  - Grants, changes or revokes a role. A robot is specified as O(user) by its login, such as
    V(payments+ci).
version_added: 0.1.0
options:
  repository:
    description: Name of the repository, including its namespace.
    type: str
    required: true
  user:
    description: The user or robot. Mutually exclusive with O(team).
    type: str
  team:
    description: The team of the organization that owns the repository.
    type: str
  role:
    description:
      - V(read) allows pulls, V(write) also allows pushes, and V(admin) also allows changes of
        permissions.
    type: str
    choices: [read, write, admin]
    default: read
  state:
    description: V(absent) revokes any role.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - atoll.registry.registry_api
"""

EXAMPLES = r"""
- name: Ensure the robot of the builds can push
  atoll.registry.permission:
    registry_url: https://registry.example.com
    username: admin
    password: "{{ registry_superuser_password }}"
    repository: payments/terminal
    user: payments+ci
    role: write

- name: Ensure a user can pull
  atoll.registry.permission:
    registry_url: https://registry.example.com
    username: admin
    password: "{{ registry_superuser_password }}"
    repository: payments/terminal
    user: alice

- name: Ensure a user has no role
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
  returned: when state is present
  type: dict
"""

from typing import Any

from ansible_collections.atoll.registry.plugins.module_utils.registry_api import (
    Entity,
    registry_module,
    run,
)


class Permission(Entity):
    """The role of a user, a robot or a team on a repository."""

    def read(self) -> dict[str, Any] | None:
        """Return the current state."""
        name = self.params["repository"]
        listed = self.api.get_of_repository(name, "permissions", self._kind())
        found = (listed or {"permissions": {}})["permissions"].get(self._grantee())
        return {"name": found["name"], "role": found["role"]} if found else None

    def wanted(self) -> dict[str, Any]:
        """Return the desired values."""
        return {"role": self.params["role"]}

    def create(self) -> None:
        """Grant the role."""
        self.change(self.wanted())

    def change(self, differing: dict[str, Any]) -> None:
        """Change the role."""
        self.api.send("PUT", *self._path(), body={"role": differing["role"]})

    def remove(self) -> None:
        """Revoke the role."""
        self.api.send("DELETE", *self._path())

    def _path(self) -> tuple[str, ...]:
        repository = ("repository", self.params["repository"])
        return (*repository, "permissions", self._kind(), self._grantee())

    def _kind(self) -> str:
        return "team" if self.params["team"] else "user"

    def _grantee(self) -> str:
        grantee: str = self.params["team"] or self.params["user"]
        return grantee


def main() -> None:
    """Bring the permission to the desired state."""
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
