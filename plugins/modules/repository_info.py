#!/usr/bin/python
"""Ansible module: gather information about repositories."""

from __future__ import annotations

DOCUMENTATION = r"""
module: repository_info
short_description: Gather information about repositories
description:
  - Returns one repository with its tags, or the repositories of a namespace that are visible to the
    login.
version_added: 0.1.0
options:
  name:
    description: Return this repository, specified with its namespace, and its tags.
    type: str
  namespace:
    description: Return the repositories of this namespace.
    type: str
extends_documentation_fragment:
  - atoll.registry.registry_api
"""

EXAMPLES = r"""
- name: Gather information about the repositories of an organization
  atoll.registry.repository_info:
    registry_url: https://registry.example.com
    username: admin
    password: "{{ registry_superuser_password }}"
    namespace: payments
  register: registry_repositories

- name: Show the public repositories
  ansible.builtin.debug:
    msg: "{{ registry_repositories.repositories | selectattr('is_public') | list }}"

- name: Gather information about a repository and its tags
  atoll.registry.repository_info:
    registry_url: https://registry.example.com
    username: admin
    password: "{{ registry_superuser_password }}"
    name: payments/terminal
"""

RETURN = r"""
repositories:
  description:
    - The repositories as the API returns them, with C(namespace), C(name), C(is_public), C(state)
      and C(description), and with C(tags) if O(name) is set. Empty if O(name) does not exist.
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
    """Return the repositories."""
    if params["name"]:
        repository = api.get("repository", params["name"])
        return [repository] if repository else []
    found: list[Any] = []
    page: dict[str, Any] = {}
    while True:
        answer = api.send("GET", "repository", query={"namespace": params["namespace"], **page})
        found += answer["repositories"]
        if not answer.get("next_page"):
            return found
        page = {"next_page": answer["next_page"]}


def main() -> None:
    """Return the repositories."""
    module = registry_module(
        {"name": {"type": "str"}, "namespace": {"type": "str"}},
        one_of=("name", "namespace"),
    )
    run_info(module, "repositories", read)


if __name__ == "__main__":
    main()
