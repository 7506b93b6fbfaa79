#!/usr/bin/python
"""Ansible module: who may do what with a repository."""

from __future__ import annotations

DOCUMENTATION = r"""
module: permission_info
short_description: Tell who has which role on a repository
description:
  - Roles that members of a team have by it are told of the team.
version_added: 0.1.0
options:
  repository:
    description: Name of the repository, with its namespace.
    type: str
    required: true
extends_documentation_fragment:
  - atoll.registry.registry_api
"""

EXAMPLES = r"""
- name: Look at who may do what with a repository
  atoll.registry.permission_info:
    registry_url: https://registry.example.com
    username: admin
    password: "{{ registry_superuser_password }}"
    repository: payments/terminal
  register: registry_permissions

- name: Say who may push
  ansible.builtin.debug:
    msg: "{{ registry_permissions.permissions.users | rejectattr('role', '==', 'read') | list }}"
"""

RETURN = r"""
permissions:
  description:
    - The permissions of C(users) (robots are among them) and of C(teams), each with C(name) and
      C(role).
  returned: always
  type: dict
"""

from ansible_collections.atoll.registry.plugins.module_utils.registry_api import (
    registry_module,
    tell,
)


def look(api, params):
    """Return the permissions of users and of teams."""
    path = ("repository", params["repository"], "permissions")
    return {
        f"{kind}s": list(api.send("GET", *path, kind)["permissions"].values())
        for kind in ("user", "team")
    }


def main():
    """Answer with the permissions."""
    module = registry_module({"repository": {"type": "str", "required": True}})
    tell(module, "permissions", look)


if __name__ == "__main__":
    main()
