#!/usr/bin/python
"""Ansible module: the users of the registry."""

from __future__ import annotations

DOCUMENTATION = r"""
module: user_info
short_description: Tell the users of the registry
description:
  - Needs a superuser's login, or a token with C(super:user).
version_added: 0.1.0
options:
  name:
    description: Tell this user only.
    type: str
extends_documentation_fragment:
  - atoll.registry.registry_api
"""

EXAMPLES = r"""
- name: Look at the users
  atoll.registry.user_info:
    registry_url: https://registry.example.com
    username: admin
    password: "{{ registry_superuser_password }}"
  register: registry_users

- name: Say who is not let in
  ansible.builtin.debug:
    msg: "{{ registry_users.users | rejectattr('enabled') | map(attribute='username') }}"
"""

RETURN = r"""
users:
  description:
    - Each user as the API shows it, with C(username), C(email), C(enabled) and C(super_user). Of
      one who is not there, nothing.
  returned: always
  type: list
  elements: dict
"""

from ansible_collections.atoll.registry.plugins.module_utils.registry_api import (
    registry_module,
    tell,
)


def look(api, params):
    """Return the users."""
    if params["name"]:
        user = api.get("superuser", "users", params["name"])
        return [user] if user else []
    return api.send("GET", "superuser", "users")["users"]


def main():
    """Answer with the users."""
    tell(registry_module({"name": {"type": "str"}}), "users", look)


if __name__ == "__main__":
    main()
