#!/usr/bin/python
"""Ansible module: gather the permissions on a repository."""

from __future__ import annotations

DOCUMENTATION = r"""
module: permission_info
short_description: Gather the roles of users, robots and teams on a repository
description:
  - Returns the roles that were granted. Roles that users have as members of a team are returned
    only for the team.
version_added: 0.1.0
options:
  repository:
    description: Name of the repository, including its namespace.
    type: str
    required: true
extends_documentation_fragment:
  - atoll.registry.registry_api
"""

EXAMPLES = r"""
- name: Gather the permissions on a repository
  atoll.registry.permission_info:
    registry_url: https://registry.example.com
    username: admin
    password: "{{ registry_superuser_password }}"
    repository: payments/terminal
  register: registry_permissions

- name: Show the users with push permission
  ansible.builtin.debug:
    msg: "{{ registry_permissions.permissions.users | rejectattr('role', '==', 'read') | list }}"
"""

RETURN = r"""
permissions:
  description:
    - The permissions of C(users), including robots, and of C(teams), each with C(name) and
      C(role).
  returned: always
  type: dict
"""

from collections.abc import Mapping
from typing import Any

from ansible_collections.atoll.registry.plugins.module_utils.registry_api import (
    RegistryApi,
    registry_module,
    run_info,
)


def read(api: RegistryApi, params: Mapping[str, Any]) -> Any:
    """Return the permissions of users and of teams."""
    path = ("repository", params["repository"], "permissions")
    return {
        f"{kind}s": list(api.send("GET", *path, kind)["permissions"].values())
        for kind in ("user", "team")
    }


def main() -> None:
    """Return the permissions."""
    module = registry_module({"repository": {"type": "str", "required": True}})
    run_info(module, "permissions", read)


if __name__ == "__main__":
    main()
