#!/usr/bin/python
"""Ansible module: manage the mirror of a repository."""

from __future__ import annotations

DOCUMENTATION = r"""
module: repository_mirror
short_description: Manage the mirror of a repository
description:
  - Keeps a repository in step with a repository of another registry. Only the robot of the mirror
    can push to the repository.
  - The repository and the robot must exist.
  - Options that are not specified keep the values of an existing mirror.
version_added: 0.1.0
options:
  name:
    description: Name of the repository, including its namespace.
    type: str
    required: true
  external_reference:
    description:
      - The repository of the other registry without tag, such as V(quay.io/prometheus/prometheus).
        Required for a new mirror.
    type: str
  sync_interval:
    description:
      - Seconds between runs; V(0) runs the mirror only on request. A new mirror runs once a day by
        default.
    type: int
  tag_timeout:
    description: Seconds without progress after which a tag fails, at least 300.
    type: int
extends_documentation_fragment:
  - atoll.registry.mirror
  - atoll.registry.registry_api
"""

EXAMPLES = r"""
- name: Ensure a repository is mirrored
  atoll.registry.repository_mirror:
    registry_url: https://registry.example.com
    username: admin
    password: "{{ registry_superuser_password }}"
    name: payments/prometheus
    external_reference: quay.io/prometheus/prometheus
    robot: mirror
    semver: [">=3"]
    newest: 5
    sync_interval: 3600

- name: Ensure a repository is an ordinary one
  atoll.registry.repository_mirror:
    registry_url: https://registry.example.com
    username: admin
    password: "{{ registry_superuser_password }}"
    name: payments/former
    state: absent
"""

RETURN = r"""
mirror:
  description: The mirror with the values of the options, without the password.
  returned: when state is present
  type: dict
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from ansible_collections.atoll.registry.plugins.module_utils import mirror
from ansible_collections.atoll.registry.plugins.module_utils.registry_api import registry_module

ARGUMENTS: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "external_reference": {"type": "str"},
    "sync_interval": {"type": "int"},
    "tag_timeout": {"type": "int"},
    **mirror.ARGUMENTS,
}


class Mirror(mirror.MirrorEntity):
    """The mirror of a repository."""

    settings: ClassVar[Mapping[str, str]] = {
        "external_reference": "external_reference",
        "tag_timeout": "skopeo_timeout_interval",
    }
    required = ("external_reference", "robot")
    upstream = ("external_reference",)
    defaults: ClassVar[Mapping[str, Any]] = {"tags": ["*"]}

    def fetch(self) -> dict[str, Any] | None:
        """Return the mirror as the API returns it, or None."""
        found: dict[str, Any] | None = self.api.get_of_repository(self.params["name"], "mirror")
        return found

    def path(self) -> tuple[str, ...]:
        """Return the path of the mirror in the API."""
        return ("repository", self.params["name"], "mirror")

    def selection(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options of the selection; Quay has them, too."""
        return {
            "tags": found["root_rule"]["rule_value"],
            "architectures": found["architecture_filter"],
        }

    def select(self, body: dict[str, Any], selection: Mapping[str, Any]) -> None:
        """Add the selection to a request."""
        names = {"tags": "root_rule", "architectures": "architecture_filter"}
        body.update({names[option]: value for option, value in selection.items()})


def main() -> None:
    """Bring the mirror to the desired state."""
    mirror.run_mirror(registry_module(ARGUMENTS), Mirror)


if __name__ == "__main__":
    main()
