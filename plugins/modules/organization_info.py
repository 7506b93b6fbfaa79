#!/usr/bin/python
"""Ansible module: gather information about organizations of the registry."""

from __future__ import annotations

DOCUMENTATION = r"""
module: organization_info
short_description: Gather information about organizations of the registry
description:
  - Returns one organization, or all if the login is that of a superuser.
version_added: 0.1.0
options:
  name:
    description: Return only this organization, with its teams.
    type: str
extends_documentation_fragment:
  - atoll.registry.registry_api
"""

EXAMPLES = r"""
- name: Gather information about an organization
  atoll.registry.organization_info:
    registry_url: https://registry.example.com
    username: admin
    password: "{{ registry_superuser_password }}"
    name: payments
  register: registry_payments

- name: Show its teams
  ansible.builtin.debug:
    msg: "{{ registry_payments.organizations[0].ordered_teams }}"
"""

RETURN = r"""
organizations:
  description: The organizations as the API returns them. Empty if O(name) does not exist.
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
    """Return the organizations."""
    if params["name"]:
        organization = api.get("organization", params["name"])
        return [organization] if organization else []
    return api.send("GET", "superuser", "organizations")["organizations"]


def main() -> None:
    """Return the organizations."""
    run_info(registry_module({"name": {"type": "str"}}), "organizations", read)


if __name__ == "__main__":
    main()
