#!/usr/bin/python
"""Ansible module: gather information about the mirror of a repository."""

from __future__ import annotations

DOCUMENTATION = r"""
module: repository_mirror_info
short_description: Gather information about the mirror of a repository
description:
  - Returns the settings and the state of a mirror, its latest runs, and the tags that could not be
    copied.
version_added: 0.1.0
options:
  name:
    description: Name of the repository, including its namespace.
    type: str
    required: true
  runs:
    description: Number of latest runs to return.
    type: int
    default: 1
extends_documentation_fragment:
  - atoll.registry.registry_api
"""

EXAMPLES = r"""
- name: Gather information about a mirror
  atoll.registry.repository_mirror_info:
    registry_url: https://registry.example.com
    username: admin
    password: "{{ registry_superuser_password }}"
    name: payments/prometheus
  register: registry_mirror

- name: Check that the last run succeeded
  ansible.builtin.assert:
    that: registry_mirror.mirrors[0].sync_status == 'SUCCESS'
"""

RETURN = r"""
mirrors:
  description:
    - The mirror as the API returns it, with C(sync_status), C(external_reference), C(root_rule) and
      C(atoll), and with C(runs) and C(failed_tags). Empty if the repository is no mirror.
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
    """Return the mirror."""
    name = params["name"]
    mirror = api.get_of_repository(name, "mirror")
    if mirror is None:
        return []
    runs = api.get_of_repository(name, "mirror", "runs", query={"limit": params["runs"]})
    failed: list[Any] = []
    page: dict[str, Any] = {}
    while True:
        query = {"state": "failed", **page}
        answer = api.get_of_repository(name, "mirror", "tags", query=query) or {"tags": []}
        failed += answer["tags"]
        if not answer.get("next_page"):
            break
        page = {"next_page": answer["next_page"]}
    return [{**mirror, "runs": (runs or {"runs": []})["runs"], "failed_tags": failed}]


def main() -> None:
    """Return the mirror."""
    module = registry_module(
        {"name": {"type": "str", "required": True}, "runs": {"type": "int", "default": 1}}
    )
    run_info(module, "mirrors", read)


if __name__ == "__main__":
    main()
