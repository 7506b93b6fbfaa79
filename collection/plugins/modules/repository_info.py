#!/usr/bin/python
"""Ansible module: a repository, or those of a namespace."""

from __future__ import annotations

DOCUMENTATION = r"""
module: repository_info
short_description: Tell a repository with its tags, or those of a namespace
description:
  - Tells what the login may see.
version_added: 0.1.0
options:
  name:
    description: Tell this repository, with its tags. Name it with its namespace.
    type: str
  namespace:
    description: Tell the repositories of this namespace.
    type: str
extends_documentation_fragment:
  - atoll.registry.registry_api
"""

EXAMPLES = r"""
- name: Look at the repositories of an organization
  atoll.registry.repository_info:
    registry_url: https://registry.example.com
    username: admin
    password: "{{ registry_superuser_password }}"
    namespace: payments
  register: registry_repositories

- name: Say which anybody may pull from
  ansible.builtin.debug:
    msg: "{{ registry_repositories.repositories | selectattr('is_public') | list }}"

- name: Look at a repository with its tags
  atoll.registry.repository_info:
    registry_url: https://registry.example.com
    username: admin
    password: "{{ registry_superuser_password }}"
    name: payments/terminal
"""

RETURN = r"""
repositories:
  description:
    - Each repository as the API shows it, with C(namespace), C(name), C(is_public), C(state) and
      C(description); of a single one also C(tags). Of one that is not there, nothing.
  returned: always
  type: list
  elements: dict
"""

from ansible_collections.atoll.registry.plugins.module_utils.registry_api import (
    registry_module,
    tell,
)


def look(api, params):
    """Return the repositories."""
    if params["name"]:
        repository = api.get("repository", params["name"])
        return [repository] if repository else []
    found, page = [], {}
    while True:
        answer = api.send("GET", "repository", query={"namespace": params["namespace"], **page})
        found += answer["repositories"]
        if not answer.get("next_page"):
            return found
        page = {"next_page": answer["next_page"]}


def main():
    """Answer with the repositories."""
    module = registry_module(
        {"name": {"type": "str"}, "namespace": {"type": "str"}},
        one_of=("name", "namespace"),
    )
    tell(module, "repositories", look)


if __name__ == "__main__":
    main()
