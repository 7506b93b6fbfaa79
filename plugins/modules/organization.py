#!/usr/bin/python
"""Ansible module: manage an organization of the registry."""

from __future__ import annotations

DOCUMENTATION = r"""
module: organization
short_description: Manage an organization of the registry
description:
  - Creates, changes or removes an organization. The user that creates an organization owns it.
version_added: 0.1.0
options:
  name:
    description: Name of the organization and of its namespace.
    type: str
    required: true
  email:
    description: E-mail address of the organization.
    type: str
  tag_expiration:
    description:
      - Seconds for which a deleted tag can be restored. The value must be one of
        TAG_EXPIRATION_OPTIONS of the bundle.
    type: int
  state:
    description: V(absent) also removes the repositories and robots of the organization.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - atoll.registry.registry_api
"""

EXAMPLES = r"""
- name: Ensure an organization is present
  atoll.registry.organization:
    registry_url: https://registry.example.com
    username: admin
    password: "{{ registry_superuser_password }}"
    name: payments
    email: payments@example.com

- name: Ensure an organization and its repositories are absent
  atoll.registry.organization:
    registry_url: https://registry.example.com
    username: admin
    password: "{{ registry_superuser_password }}"
    name: former
    state: absent
"""

RETURN = r"""
organization:
  description: The organization, with C(name), C(email) and C(tag_expiration).
  returned: when state is present
  type: dict
"""

from typing import Any

from ansible_collections.atoll.registry.plugins.module_utils.registry_api import (
    Entity,
    registry_module,
    run,
)


class Organization(Entity):
    """An organization."""

    def read(self) -> dict[str, Any] | None:
        """Return the current state."""
        found = self.api.get("organization", self.params["name"])
        if found is None:
            return None
        return {
            "name": found["name"],
            "email": found["email"],
            "tag_expiration": found["tag_expiration_s"],
        }

    def wanted(self) -> dict[str, Any]:
        """Return the desired values."""
        return {"email": self.params["email"], "tag_expiration": self.params["tag_expiration"]}

    def create(self) -> None:
        """Create the organization."""
        body = {"name": self.params["name"], "email": self.params["email"]}
        self.api.send("POST", "organization", body=body)

    def change(self, differing: dict[str, Any]) -> None:
        """Change the differing values."""
        names = {"email": "email", "tag_expiration": "tag_expiration_s"}
        body = {names[key]: value for key, value in differing.items()}
        self.api.send("PUT", "organization", self.params["name"], body=body)

    def remove(self) -> None:
        """Remove the organization."""
        self.api.send("DELETE", "organization", self.params["name"])


def main() -> None:
    """Bring the organization to the desired state."""
    arguments = {
        "name": {"type": "str", "required": True},
        "email": {"type": "str"},
        "tag_expiration": {"type": "int"},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    }
    run(registry_module(arguments), "organization", Organization)


if __name__ == "__main__":
    main()
