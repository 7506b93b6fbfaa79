#!/usr/bin/python
"""Ansible module: manage a user of the registry."""

from __future__ import annotations

DOCUMENTATION = r"""
module: user
short_description: Manage a user of the registry
description:
  - Creates, changes or removes a user. Requires the login of a superuser, or a token with the scope
    C(super:user).
  - Other superusers (SUPER_USERS of the bundle) cannot be changed or removed.
version_added: 0.1.0
options:
  name:
    description: Name of the user and of the namespace.
    type: str
    required: true
  email:
    description: E-mail address of the user.
    type: str
  user_password:
    description: Password of the user. Required to create a user.
    type: str
  update_password:
    description:
      - V(always) tries to log in with O(user_password), and sets it if the login fails.
      - V(on_create) does not change the password of an existing user.
    type: str
    choices: [always, on_create]
    default: on_create
  enabled:
    description: Whether the user can log in. New users are enabled by default.
    type: bool
  state:
    description: V(absent) also removes the repositories and robots of the user.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - atoll.registry.registry_api
"""

EXAMPLES = r"""
- name: Ensure a user is present
  atoll.registry.user:
    registry_url: https://registry.example.com
    username: admin
    password: "{{ registry_superuser_password }}"
    name: alice
    email: alice@example.com
    user_password: "{{ alice_password }}"

- name: Ensure a user cannot log in
  atoll.registry.user:
    registry_url: https://registry.example.com
    username: admin
    password: "{{ registry_superuser_password }}"
    name: bob
    user_password: "{{ bob_password }}"
    enabled: false

- name: Ensure a user and the repositories of the user are absent
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

ALWAYS = "always"
ON_CREATE = "on_create"


class User(Entity):
    """A user, in the view of superusers."""

    def read(self) -> dict[str, Any] | None:
        """Return the current state, with `password_fits` if the password is to be compared."""
        found = self.api.get("superuser", "users", self.params["name"])
        if found is None:
            return None
        user: dict[str, Any] = {
            "name": found["username"],
            "email": found["email"],
            "enabled": found["enabled"],
            "superuser": found["super_user"],
        }
        if self._keeps_password() and user["enabled"]:
            user["password_fits"] = self.api.accepts_login(
                user["name"], self.params["user_password"]
            )
        return user

    def wanted(self) -> dict[str, Any]:
        """Return the desired values."""
        fits = True if self._keeps_password() and self.params["enabled"] is not False else None
        return {
            "email": self.params["email"],
            "enabled": self.params["enabled"],
            "password_fits": fits,
        }

    def create(self) -> None:
        """Create the user."""
        password = self.params["user_password"]
        if not password:
            raise ApiError(
                f"user {self.params['name']} does not exist; set user_password to create it"
            )
        body = {
            "username": self.params["name"],
            "email": self.params["email"],
            "password": password,
        }
        self.api.send("POST", "superuser", "users", body=body)

    def change(self, differing: dict[str, Any]) -> None:
        """Change the e-mail address, the password or whether the user is enabled."""
        body: dict[str, Any] = {
            key: differing[key] for key in ("email", "enabled") if key in differing
        }
        if "password_fits" in differing:
            body["password"] = self.params["user_password"]
        self.api.send("PUT", "superuser", "users", self.params["name"], body=body)

    def remove(self) -> None:
        """Remove the user."""
        self.api.send("DELETE", "superuser", "users", self.params["name"])

    def _keeps_password(self) -> bool:
        always = self.params["update_password"] == ALWAYS
        return always and bool(self.params["user_password"])


def main() -> None:
    """Bring the user to the desired state."""
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
