#!/usr/bin/python
"""Ansible module: gather information about users of the registry."""

from __future__ import annotations

DOCUMENTATION = r"""
module: user_info
short_description: Gather information about users of the registry
description:
  - Returns one user or all. Requires the login of a superuser, or a token with the scope
    C(super:user).
version_added: 0.1.0
options:
  name:
    description: Return only this user.
    type: str
extends_documentation_fragment:
  - atoll.registry.registry_api
"""

EXAMPLES = r"""
- name: Gather information about the users
  atoll.registry.user_info:
    registry_url: https://registry.example.com
    username: admin
    password: "{{ registry_superuser_password }}"
  register: registry_users

- name: Show the disabled users
  ansible.builtin.debug:
    msg: "{{ registry_users.users | rejectattr('enabled') | map(attribute='username') }}"
"""

RETURN = r"""
users:
  description:
    - The users as the API returns them, with C(username), C(email), C(enabled) and C(super_user).
      Empty if O(name) does not exist.
  returned: always
  type: list
  elements: dict
"""

from collections.abc import Mapping
from typing import Any

from ansible_collections.atoll.registry.plugins.module_utils.registry_api import (
    RegistryApi,
    registry_module,
    run_info,
)


def read(api: RegistryApi, params: Mapping[str, Any]) -> Any:
    """Return the users."""
    if params["name"]:
        user = api.get("superuser", "users", params["name"])
        return [user] if user else []
    return api.send("GET", "superuser", "users")["users"]


def main() -> None:
    """Return the users."""
    run_info(registry_module({"name": {"type": "str"}}), "users", read)


if __name__ == "__main__":
    main()
