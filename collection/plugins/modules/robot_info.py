#!/usr/bin/python
"""Ansible module: the robots of an organization or of a user."""

from __future__ import annotations

DOCUMENTATION = r"""
module: robot_info
short_description: Tell the robots of an organization or of who logs in
description:
  - Their tokens are not told.
version_added: 0.1.0
options:
  organization:
    description: The organization whose robots they are. Without one they are those of who logs in.
    type: str
extends_documentation_fragment:
  - atoll.registry.registry_api
"""

EXAMPLES = r"""
- name: Look at the robots of an organization
  atoll.registry.robot_info:
    registry_url: https://registry.example.com
    username: admin
    password: "{{ registry_superuser_password }}"
    organization: payments
  register: registry_robots

- name: Say which there are
  ansible.builtin.debug:
    msg: "{{ registry_robots.robots | map(attribute='name') }}"
"""

RETURN = r"""
robots:
  description: Each robot as the API shows it, with C(name), C(description) and C(created).
  returned: always
  type: list
  elements: dict
"""

from ansible_collections.atoll.registry.plugins.module_utils.registry_api import (
    registry_module,
    tell,
)


def look(api, params):
    """Return the robots."""
    owner = ("organization", params["organization"]) if params["organization"] else ("user",)
    listed = api.get(*owner, "robots", query={"token": "false"})
    return listed["robots"] if listed else []


def main():
    """Answer with the robots."""
    tell(registry_module({"organization": {"type": "str"}}), "robots", look)


if __name__ == "__main__":
    main()
