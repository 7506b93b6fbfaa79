#!/usr/bin/python
"""Ansible module: gather information about robot accounts."""

from __future__ import annotations

DOCUMENTATION = r"""
module: robot_info
short_description: Gather information about robot accounts
description:
  - Returns the robots of an organization or of the user that logs in, without their tokens.
version_added: 0.1.0
options:
  organization:
    description: The organization. By default, the robots of the user that logs in are returned.
    type: str
extends_documentation_fragment:
  - atoll.registry.registry_api
"""

EXAMPLES = r"""
- name: Gather information about the robots of an organization
  atoll.registry.robot_info:
    registry_url: https://registry.example.com
    username: admin
    password: "{{ registry_superuser_password }}"
    organization: payments
  register: registry_robots

- name: Show their names
  ansible.builtin.debug:
    msg: "{{ registry_robots.robots | map(attribute='name') }}"
"""

RETURN = r"""
robots:
  description: The robots as the API returns them, with C(name), C(description) and C(created).
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
    """Return the robots."""
    owner = ("organization", params["organization"]) if params["organization"] else ("user",)
    listed = api.get(*owner, "robots", query={"token": "false"})
    return listed["robots"] if listed else []


def main() -> None:
    """Return the robots."""
    run_info(registry_module({"organization": {"type": "str"}}), "robots", read)


if __name__ == "__main__":
    main()
