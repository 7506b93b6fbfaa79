#!/usr/bin/python
"""Ansible module: gather information about the mirror of an organization."""

from __future__ import annotations

DOCUMENTATION = r"""
module: organization_mirror_info
short_description: Gather information about the mirror of an organization
description:
  - Returns the settings and the state of a mirror, and the repositories that the other registry
    lists, or listed.
version_added: 0.1.0
options:
  name:
    description: Name of the organization.
    type: str
    required: true
  status:
    description: Return only repositories with this status.
    type: str
    choices: [NEVER_RUN, SYNC_NOW, SYNCING, SUCCESS, FAIL, CANCEL, SKIP]
extends_documentation_fragment:
  - atoll.registry.registry_api
"""

EXAMPLES = r"""
- name: Gather information about repositories that could not be mirrored
  atoll.registry.organization_mirror_info:
    registry_url: https://registry.example.com
    username: admin
    password: "{{ registry_superuser_password }}"
    name: platform
    status: FAIL
  register: registry_mirror

- name: Check that there are none
  ansible.builtin.assert:
    that: registry_mirror.mirrors[0].repositories | length == 0
"""

RETURN = r"""
mirrors:
  description:
    - The mirror as the API returns it, with C(sync_status), C(repo_sync_status_counts),
      C(external_registry_config) with the proxies, and the further options in C(atoll), and with
      C(repositories). Empty if the organization is no mirror.
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

_PAGE = 500
_STATUSES = ["NEVER_RUN", "SYNC_NOW", "SYNCING", "SUCCESS", "FAIL", "CANCEL", "SKIP"]


def read(api: RegistryApi, params: Mapping[str, Any]) -> Any:
    """Return the mirror."""
    path = ("organization", params["name"], "mirror")
    mirror = api.get(*path)
    if mirror is None:
        return []
    repositories: list[Any] = []
    query = {"limit": _PAGE, **({"status": params["status"]} if params["status"] else {})}
    page, has_next = 0, True
    while has_next:
        page += 1
        answer = api.get(*path, "repositories", query={**query, "page": page}) or {}
        repositories += answer.get("repositories", [])
        has_next = answer.get("has_next", False)
    return [{**mirror, "repositories": repositories}]


def main() -> None:
    """Return the mirror."""
    module = registry_module(
        {
            "name": {"type": "str", "required": True},
            "status": {"type": "str", "choices": _STATUSES},
        }
    )
    run_info(module, "mirrors", read)


if __name__ == "__main__":
    main()
