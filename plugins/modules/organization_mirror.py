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
  external_registry_username:
    description:
      - User name at the other registry. At V(quay), it is V($oauthtoken), and the password an OAuth
        token. By default, a new mirror pulls anonymously.
    type: str
  external_registry_password:
    description:
      - Password of O(external_registry_username). The registry does not return it; see
        O(update_password).
    type: str
  update_password:
    description:
      - V(on_create) sends the password if the mirror is new or its user name changes. V(always)
        sends it in each run, which always reports a change.
    type: str
    choices: [always, on_create]
    default: on_create
  robot:
    description:
      - Name of the robot that owns the mirrored tags, with or without the organization. Required
        for a new mirror.
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
  tags:
    description:
      - Patterns of a Unix shell, one of which a tag must match. A new mirror selects all tags by
        default.
    type: list
    elements: str
  exclude:
    description: Patterns of tags to leave out.
    type: list
    elements: str
  semver:
    description: Ranges of versions, such as V(>=1.2 <2), one of which a tag must be in.
    type: list
    elements: str
  newest:
    description: Number of newest tags of each repository to select.
    type: int
  newest_by:
    description: Order of tags for O(newest).
    type: str
    choices: [semver, created, name]
  max_age:
    description: Maximum age of images in seconds.
    type: int
  architectures:
    description:
      - Architectures of images to copy; an empty list selects all. The registry must have
        C(FEATURE_SPARSE_INDEX).
    type: list
    elements: str
    choices: [amd64, arm64, ppc64le, s390x]
  sync_interval:
    description:
      - Seconds between discoveries and between runs, at least 60. A new mirror runs once a day by
        default.
    type: int
  sync_start_date:
    description:
      - The first discovery, as V(2026-01-31T22:00:00Z). By default, a new mirror begins at once.
    type: str
  enabled:
    description: Whether the mirror runs on schedule. A new mirror is enabled by default.
    type: bool
  verify_tls:
    description: Whether the certificate of the other registry is verified. The default is V(true).
    type: bool
  ca_certificate:
    description: Further CA certificates for the other registry, in PEM format.
    type: str
  tag_timeout:
    description: Seconds without progress after which a tag fails, 30 to 3600.
    type: int
  state:
    description: V(absent) keeps the repositories and tags; they then accept pushes again.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
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

from datetime import datetime, timezone
from typing import Any

from ansible_collections.atoll.registry.plugins.module_utils.registry_api import (
    ApiError,
    Entity,
    RegistryApi,
    converge,
    registry_module,
)

# Options with their names in the API, and the others in its object `atoll`, which Quay lacks.
_SETTINGS = {
    "external_registry_type": "external_registry_type",
    "external_registry_url": "external_registry_url",
    "external_namespace": "external_namespace",
    "external_registry_username": "external_registry_username",
    "repositories": "repository_filters",
    "visibility": "visibility",
    "sync_interval": "sync_interval",
    "sync_start_date": "sync_start_date",
    "enabled": "is_enabled",
    "tag_timeout": "skopeo_timeout",
}
_OPTIONS = ("exclude", "semver", "newest", "newest_by", "max_age", "ca_certificate")
_REQUIRED = ("external_registry_type", "external_registry_url", "external_namespace", "robot")
_DAY = 86_400
_ALWAYS = "always"


class OrganizationMirror(Entity):
    """The mirror of an organization."""

    def read(self) -> dict[str, Any] | None:
        """Return the current state."""
        found = self.api.get(*self._path())
        if found is None:
            return None
        options = found["atoll"]
        return {
            **{option: found[name] for option, name in _SETTINGS.items()},
            **{option: options.get(option) for option in _OPTIONS},
            "name": self.params["name"],
            "robot": found["robot_username"],
            "tags": options["tags"]["rule_value"],
            "architectures": options["architecture_filter"],
            "verify_tls": found["external_registry_config"].get("verify_tls") is not False,
        }

    def wanted(self) -> dict[str, Any]:
        """Return the desired values."""
        names = (*_SETTINGS, *_OPTIONS, "robot", "tags", "architectures", "verify_tls")
        values = {name: self.params[name] for name in names}
        for name in ("repositories", "tags", "exclude"):
            if values[name] is not None:
                # One text may have several patterns.
                parts = (part.strip() for text in values[name] for part in text.split(","))
                values[name] = [part for part in parts if part]
        robot = values["robot"]
        if robot and "+" not in robot:
            values["robot"] = f"{self.params['name']}+{robot}"
        return values

    def create(self) -> None:
        """Create the mirror."""
        wanted = {key: value for key, value in self.wanted().items() if value is not None}
        for option in _REQUIRED:
            if option not in wanted:
                raise ApiError(f"'{self.params['name']}' is no mirror yet, which needs {option}")
        now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        defaults = {"visibility": "private", "sync_interval": _DAY, "sync_start_date": now}
        self.api.send("POST", *self._path(), body=self._body({**defaults, **wanted}))

    def change(self, differing: dict[str, Any]) -> None:
        """Change all differing values with one request."""
        self.api.send("PUT", *self._path(), body=self._body(differing))

    def send_password(self) -> None:
        """Replace the password."""
        name = "external_registry_username"
        self.api.send("PUT", *self._path(), body=self._body({name: self.params[name]}))

    def remove(self) -> None:
        """Remove the mirror, and keep its repositories."""
        self.api.send("DELETE", *self._path())

    def _path(self) -> tuple[str, ...]:
        return ("organization", self.params["name"], "mirror")

    def _body(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return a request's body. The password accompanies its user name."""
        body = {name: values[option] for option, name in _SETTINGS.items() if option in values}
        if "robot" in values:
            body["robot_username"] = values["robot"]
        password = self.params["external_registry_password"]
        if "external_registry_username" in values and password is not None:
            body["external_registry_password"] = password
        if "verify_tls" in values:
            body["external_registry_config"] = {"verify_tls": values["verify_tls"]}
        options = {option: values[option] for option in _OPTIONS if option in values}
        if "tags" in values:
            options["tags"] = {"rule_kind": "tag_glob_csv", "rule_value": values["tags"]}
        if "architectures" in values:
            options["architecture_filter"] = values["architectures"]
        if options:
            body["atoll"] = options
        return body


def main() -> None:
    """Bring the mirror to the desired state."""
    module = registry_module(
        {
            "name": {"type": "str", "required": True},
            "external_registry_type": {"type": "str", "choices": ["quay", "harbor", "oci"]},
            "external_registry_url": {"type": "str"},
            "external_namespace": {"type": "str"},
            "external_registry_username": {"type": "str"},
            "external_registry_password": {"type": "str", "no_log": True},
            "update_password": {
                "type": "str",
                "choices": ["always", "on_create"],
                "default": "on_create",
                "no_log": False,
            },
            "robot": {"type": "str"},
            "repositories": {"type": "list", "elements": "str"},
            "visibility": {"type": "str", "choices": ["public", "private"]},
            "tags": {"type": "list", "elements": "str"},
            "exclude": {"type": "list", "elements": "str"},
            "semver": {"type": "list", "elements": "str"},
            "newest": {"type": "int"},
            "newest_by": {"type": "str", "choices": ["semver", "created", "name"]},
            "max_age": {"type": "int"},
            "architectures": {
                "type": "list",
                "elements": "str",
                "choices": ["amd64", "arm64", "ppc64le", "s390x"],
            },
            "sync_interval": {"type": "int"},
            "sync_start_date": {"type": "str"},
            "enabled": {"type": "bool"},
            "verify_tls": {"type": "bool"},
            "ca_certificate": {"type": "str"},
            "tag_timeout": {"type": "int"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        }
    )
    params = module.params
    has_password = params["external_registry_password"] is not None
    if has_password and params["external_registry_username"] is None:
        module.fail_json(msg="external_registry_password requires external_registry_username")
    try:
        mirror = OrganizationMirror(RegistryApi(params), params)
        before, after = converge(mirror, params["state"], check_mode=module.check_mode)
        changed = before != after
        # A new mirror has the password already.
        if before and after and has_password and params["update_password"] == _ALWAYS:
            changed = True
            if not module.check_mode:
                mirror.send_password()
    except ApiError as error:
        module.fail_json(msg=str(error))
    answer = {} if after is None else {"mirror": after}
    module.exit_json(changed=changed, diff={"before": before or {}, "after": after or {}}, **answer)


if __name__ == "__main__":
    main()
