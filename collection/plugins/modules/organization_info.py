#!/usr/bin/python
"""Ansible module: an organization of the registry, or all."""

from __future__ import annotations

DOCUMENTATION = r"""
module: organization_info
short_description: Tell an organization of the registry, or all
description:
  - To tell all organizations takes a superuser's login.
version_added: 0.1.0
options:
  name:
    description: Tell this organization only, with its teams.
    type: str
extends_documentation_fragment:
  - atoll.registry.registry_api
"""

EXAMPLES = r"""
- name: Look at an organization
  atoll.registry.organization_info:
    registry_url: https://registry.example.com
    username: admin
    password: "{{ registry_superuser_password }}"
    name: payments
  register: registry_payments

- name: Say which teams it has
  ansible.builtin.debug:
    msg: "{{ registry_payments.organizations[0].ordered_teams }}"
"""

RETURN = r"""
organizations:
  description: Each organization as the API shows it. Of one that is not there, nothing.
  returned: always
  type: list
  elements: dict
"""

from ansible_collections.atoll.registry.plugins.module_utils.registry_api import (
    registry_module,
    tell,
)


def look(api, params):
    """Return the organizations."""
    if params["name"]:
        organization = api.get("organization", params["name"])
        return [organization] if organization else []
    return api.send("GET", "superuser", "organizations")["organizations"]


def main():
    """Answer with the organizations."""
    tell(registry_module({"name": {"type": "str"}}), "organizations", look)


if __name__ == "__main__":
    main()
