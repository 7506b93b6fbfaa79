#!/usr/bin/python
"""Ansible module: manage the mirror of an organization."""

from __future__ import annotations

DOCUMENTATION = r"""
module: organization_mirror
short_description: Manage the mirror of an organization
description:
  - Mirrors the repositories of a namespace of another registry. The registry must have
    C(FEATURE_ORG_MIRROR).
  - The organization and the robot must exist. The organization of a new mirror has no repositories.
  - Options that are not specified keep the values of an existing mirror.
version_added: 0.1.0
options:
  name:
    description: Name of the organization.
    type: str
    required: true
  external_registry_type:
    description:
      - Kind of the other registry. V(quay) and V(harbor) list repositories with the API of these
        products, V(oci) with the catalog. Required for a new mirror; it cannot be changed.
    type: str
    choices: [quay, harbor, oci]
  external_registry_url:
    description:
      - URL of the other registry, such as V(https://quay.io). Required for a new mirror.
    type: str
  external_namespace:
    description:
      - The organization or project of the other registry. Required for a new mirror.
    type: str
  repositories:
    description:
      - Patterns of a Unix shell, one of which the name of a repository must match. An empty list
        selects all, which is the default of a new mirror.
    type: list
    elements: str
  visibility:
    description: Visibility of new repositories. The default of a new mirror is V(private).
    type: str
    choices: [public, private]
  sync_interval:
    description:
      - Seconds between discoveries and between runs, at least 60. A new mirror runs once a day by
        default.
    type: int
  tag_timeout:
    description: Seconds without progress after which a tag fails, 30 to 3600.
    type: int
extends_documentation_fragment:
  - atoll.registry.mirror
  - atoll.registry.registry_api
"""

EXAMPLES = r"""
- name: Ensure an organization mirrors a project of Harbor
  atoll.registry.organization_mirror:
    registry_url: https://registry.example.com
    username: admin
    password: "{{ registry_superuser_password }}"
    name: platform
    external_registry_type: harbor
    external_registry_url: https://harbor.example.com
    external_namespace: platform
    robot: mirror
    repositories: ["base/*", "tools-*"]
    newest: 10
    delete_after: 604800
    https_proxy: http://proxy.example.com:3128
    sync_interval: 3600

- name: Ensure an organization is an ordinary one
  atoll.registry.organization_mirror:
    registry_url: https://registry.example.com
    username: admin
    password: "{{ registry_superuser_password }}"
    name: former
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
    "external_registry_type": {"type": "str", "choices": ["quay", "harbor", "oci"]},
    "external_registry_url": {"type": "str"},
    "external_namespace": {"type": "str"},
    "repositories": {"type": "list", "elements": "str"},
    "visibility": {"type": "str", "choices": ["public", "private"]},
    "sync_interval": {"type": "int"},
    "tag_timeout": {"type": "int"},
    **mirror.ARGUMENTS,
}


class OrganizationMirror(mirror.MirrorEntity):
    """The mirror of an organization."""

    settings: ClassVar[Mapping[str, str]] = {
        "external_registry_type": "external_registry_type",
        "external_registry_url": "external_registry_url",
        "external_namespace": "external_namespace",
        "repositories": "repository_filters",
        "visibility": "visibility",
        "tag_timeout": "skopeo_timeout",
    }
    required = ("external_registry_type", "external_registry_url", "external_namespace", "robot")
    patterns = (*mirror.MirrorEntity.patterns, "repositories")
    upstream = ("external_registry_url",)
    defaults: ClassVar[Mapping[str, Any]] = {"visibility": "private"}

    def fetch(self) -> dict[str, Any] | None:
        """Return the mirror as the API returns it, or None."""
        found: dict[str, Any] | None = self.api.get(*self.path())
        return found

    def path(self) -> tuple[str, ...]:
        """Return the path of the mirror in the API."""
        return ("organization", self.params["name"], "mirror")

    def selection(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options of the selection, which Quay does not have."""
        options = found["atoll"]
        return {
            "tags": options["tags"]["rule_value"],
            "architectures": options["architecture_filter"],
        }

    def select(self, body: dict[str, Any], selection: Mapping[str, Any]) -> None:
        """Add the selection to a request."""
        names = {"tags": "tags", "architectures": "architecture_filter"}
        found = {names[option]: value for option, value in selection.items()}
        if found:
            body["atoll"] = {**body.get("atoll", {}), **found}


def main() -> None:
    """Bring the mirror to the desired state."""
    mirror.run_mirror(registry_module(ARGUMENTS), OrganizationMirror)


if __name__ == "__main__":
    main()
