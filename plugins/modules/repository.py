#!/usr/bin/python
"""Ansible module: manage a repository."""

from __future__ import annotations

DOCUMENTATION = r"""
module: repository
short_description: Manage a repository
description:
  - Creates, changes or removes a repository. A push also creates a missing repository; this module
    sets its visibility and its description.
version_added: 0.1.0
options:
  name:
    description: Name of the repository, including its namespace.
    type: str
    required: true
  visibility:
    description:
      - Whether pulls require a login and a permission. New repositories are V(private) by default.
    type: str
    choices: [public, private]
  description:
    description: Description of the repository.
    type: str
  read_only:
    description: Whether pushes are rejected. New repositories accept pushes by default.
    type: bool
  state:
    description: V(absent) also removes the tags and manifests of the repository.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - atoll.registry.registry_api
"""

EXAMPLES = r"""
- name: Ensure a public repository is present
  atoll.registry.repository:
    registry_url: https://registry.example.com
    username: admin
    password: "{{ registry_superuser_password }}"
    name: payments/terminal
    visibility: public
    description: Software of the payment terminals

- name: Ensure a repository is read-only
  atoll.registry.repository:
    registry_url: https://registry.example.com
    username: admin
    password: "{{ registry_superuser_password }}"
    name: payments/archive
    read_only: true

- name: Ensure a repository is absent
  atoll.registry.repository:
    registry_url: https://registry.example.com
    username: admin
    password: "{{ registry_superuser_password }}"
    name: payments/former
    state: absent
"""

RETURN = r"""
repository:
  description: The repository, with C(name), C(visibility), C(description) and C(read_only).
  returned: when state is present
  type: dict
"""

from typing import Any

from ansible_collections.atoll.registry.plugins.module_utils.registry_api import (
    ApiError,
    Entity,
    registry_module,
    run,
)


class Repository(Entity):
    """A repository."""

    def read(self) -> dict[str, Any] | None:
        """Return the current state."""
        found = self.api.get_of_repository(self.params["name"], query={"includeTags": "false"})
        if found is None:
            return None
        return {
            "name": f"{found['namespace']}/{found['name']}",
            "visibility": "public" if found["is_public"] else "private",
            "description": found["description"] or "",
            "read_only": found["state"] == "READ_ONLY",
        }

    def wanted(self) -> dict[str, Any]:
        """Return the desired values."""
        return {key: self.params[key] for key in ("visibility", "description", "read_only")}

    def create(self) -> None:
        """Create the repository."""
        namespace, slash, name = self.params["name"].partition("/")
        if not slash:
            raise ApiError(f"'{self.params['name']}' has no namespace; use the form NAMESPACE/NAME")
        body = {
            "namespace": namespace,
            "repository": name,
            "visibility": self.params["visibility"] or "private",
            "description": self.params["description"] or "",
            "repo_kind": "image",
        }
        self.api.send("POST", "repository", body=body)

    def change(self, differing: dict[str, Any]) -> None:
        """Change each differing value with a separate request."""
        path = ("repository", self.params["name"])
        if "visibility" in differing:
            body = {"visibility": differing["visibility"]}
            self.api.send("POST", *path, "changevisibility", body=body)
        if "description" in differing:
            self.api.send("PUT", *path, body={"description": differing["description"]})
        if "read_only" in differing:
            body = {"state": "READ_ONLY" if differing["read_only"] else "NORMAL"}
            self.api.send("PUT", *path, "changestate", body=body)

    def remove(self) -> None:
        """Remove the repository."""
        self.api.send("DELETE", "repository", self.params["name"])


def main() -> None:
    """Bring the repository to the desired state."""
    arguments = {
        "name": {"type": "str", "required": True},
        "visibility": {"type": "str", "choices": ["public", "private"]},
        "description": {"type": "str"},
        "read_only": {"type": "bool"},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    }
    run(registry_module(arguments), "repository", Repository)


if __name__ == "__main__":
    main()
