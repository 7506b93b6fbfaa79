#!/usr/bin/python
"""Ansible module: a repository."""

from __future__ import annotations

DOCUMENTATION = r"""
module: repository
short_description: Make, change or remove a repository
description:
  - A push makes a repository too; this says who may see it, and what it is for.
version_added: 0.1.0
options:
  name:
    description: Name of the repository, with its namespace.
    type: str
    required: true
  visibility:
    description: Whether anybody may pull. A new repository is V(private).
    type: str
    choices: [public, private]
  description:
    description: What it holds.
    type: str
  read_only:
    description: Whether nobody may push. A new repository takes pushes.
    type: bool
  state:
    description: V(absent) removes its tags and manifests, too.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - atoll.registry.registry_api
"""

EXAMPLES = r"""
- name: Make a repository that anybody may pull from
  atoll.registry.repository:
    registry_url: https://registry.example.com
    username: admin
    password: "{{ registry_superuser_password }}"
    name: payments/terminal
    visibility: public
    description: what runs in the shops

- name: Let nobody push to what is not made any more
  atoll.registry.repository:
    registry_url: https://registry.example.com
    username: admin
    password: "{{ registry_superuser_password }}"
    name: payments/archive
    read_only: true

- name: Remove a repository
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
  returned: when the repository is to be there
  type: dict
"""

from ansible_collections.atoll.registry.plugins.module_utils.registry_api import (
    ApiError,
    Entity,
    registry_module,
    run,
)


class Repository(Entity):
    """A repository."""

    def look(self):
        """Return what there is."""
        found = self.api.get_of_repository(self.params["name"], query={"includeTags": "false"})
        if found is None:
            return None
        return {
            "name": f"{found['namespace']}/{found['name']}",
            "visibility": "public" if found["is_public"] else "private",
            "description": found["description"] or "",
            "read_only": found["state"] == "READ_ONLY",
        }

    def wanted(self):
        """Return what was asked for."""
        return {key: self.params[key] for key in ("visibility", "description", "read_only")}

    def create(self):
        """Make the repository."""
        namespace, slash, name = self.params["name"].partition("/")
        if not slash:
            raise ApiError(f"'{self.params['name']}' has no namespace; write NAMESPACE/NAME")
        body = {
            "namespace": namespace,
            "repository": name,
            "visibility": self.params["visibility"] or "private",
            "description": self.params["description"] or "",
            "repo_kind": "image",
        }
        self.api.send("POST", "repository", body=body)

    def change(self, differing):
        """Change what differs, each with a request of its own."""
        path = ("repository", self.params["name"])
        if "visibility" in differing:
            body = {"visibility": differing["visibility"]}
            self.api.send("POST", *path, "changevisibility", body=body)
        if "description" in differing:
            self.api.send("PUT", *path, body={"description": differing["description"]})
        if "read_only" in differing:
            body = {"state": "READ_ONLY" if differing["read_only"] else "NORMAL"}
            self.api.send("PUT", *path, "changestate", body=body)

    def remove(self):
        """Remove the repository."""
        self.api.send("DELETE", "repository", self.params["name"])


def main():
    """Bring the repository to the wanted state."""
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
