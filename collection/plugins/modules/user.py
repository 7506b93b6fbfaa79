#!/usr/bin/python
"""Ansible module: a user of the registry."""

from __future__ import annotations

DOCUMENTATION = r"""
module: user
short_description: Make, change or remove a user of the registry
description:
  - Needs a superuser's login, or a token with C(super:user).
  - Other superusers, whom the bundle names, can be neither changed nor removed.
version_added: 0.1.0
options:
  name:
    description: Name of the user, and of the namespace of the same name.
    type: str
    required: true
  email:
    description: E-mail address.
    type: str
  user_password:
    description: The user's password. Required for a user who is not there yet.
    type: str
  update_password:
    description:
      - V(always) sets O(user_password) unless the registry lets the user in with it, which is
        tried.
      - V(on_create) leaves the password of a user alone who is there.
    type: str
    choices: [always, on_create]
    default: on_create
  enabled:
    description: Whether the user is let in. A new user is.
    type: bool
  state:
    description: V(absent) removes the user's repositories and robots, too.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - atoll.registry.registry_api
"""

EXAMPLES = r"""
- name: Make a user
  atoll.registry.user:
    registry_url: https://registry.example.com
    username: admin
    password: "{{ registry_superuser_password }}"
    name: alice
    email: alice@example.com
    user_password: "{{ alice_password }}"

- name: Let nobody in as bob any more
  atoll.registry.user:
    registry_url: https://registry.example.com
    username: admin
    password: "{{ registry_superuser_password }}"
    name: bob
    user_password: "{{ bob_password }}"
    enabled: false

- name: Remove a user with all repositories
  atoll.registry.user:
    registry_url: https://registry.example.com
    username: admin
    password: "{{ registry_superuser_password }}"
    name: mallory
    state: absent
"""

RETURN = r"""
user:
  description: The user, with C(name), C(email), C(enabled) and C(superuser).
  returned: when the user is to be there
  type: dict
"""

from ansible_collections.atoll.registry.plugins.module_utils.registry_api import (
    ApiError,
    Entity,
    registry_module,
    run,
)

ALWAYS = "always"
ON_CREATE = "on_create"


class User(Entity):
    """A user, as superusers see one."""

    def look(self):
        """Return what there is; `password_fits` only where that is to be so."""
        found = self.api.get("superuser", "users", self.params["name"])
        if found is None:
            return None
        user = {
            "name": found["username"],
            "email": found["email"],
            "enabled": found["enabled"],
            "superuser": found["super_user"],
        }
        if self._keeps_password() and user["enabled"]:
            user["password_fits"] = self.api.lets_in(user["name"], self.params["user_password"])
        return user

    def wanted(self):
        """Return what was asked for."""
        fits = True if self._keeps_password() and self.params["enabled"] is not False else None
        return {
            "email": self.params["email"],
            "enabled": self.params["enabled"],
            "password_fits": fits,
        }

    def create(self):
        """Make the user."""
        password = self.params["user_password"]
        if not password:
            raise ApiError(f"there is no user {self.params['name']} yet: give a user_password")
        body = {
            "username": self.params["name"],
            "email": self.params["email"],
            "password": password,
        }
        self.api.send("POST", "superuser", "users", body=body)

    def change(self, differing):
        """Change e-mail address, password or whether the user is let in."""
        body = {key: differing[key] for key in ("email", "enabled") if key in differing}
        if "password_fits" in differing:
            body["password"] = self.params["user_password"]
        self.api.send("PUT", "superuser", "users", self.params["name"], body=body)

    def remove(self):
        """Remove the user."""
        self.api.send("DELETE", "superuser", "users", self.params["name"])

    def _keeps_password(self):
        always = self.params["update_password"] == ALWAYS
        return always and bool(self.params["user_password"])


def main():
    """Bring the user to the wanted state."""
    arguments = {
        "name": {"type": "str", "required": True},
        "email": {"type": "str"},
        "user_password": {"type": "str", "no_log": True},
        "update_password": {
            "type": "str",
            "choices": [ALWAYS, ON_CREATE],
            "default": ON_CREATE,
            "no_log": False,
        },
        "enabled": {"type": "bool"},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    }
    run(registry_module(arguments), "user", User)


if __name__ == "__main__":
    main()
