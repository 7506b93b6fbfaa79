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
  external_registry_username:
    description: User name at the other registry. By default, a new mirror pulls anonymously.
    type: str
  external_registry_password:
    description:
      - Password of O(external_registry_username). The registry does not return it; see
        O(update_password).
    type: str
  update_password:
    description:
      - V(on_create) sends the password if the mirror is new or its user name changes, and passwords
        of proxies if their URLs differ in something else. V(always) sends all passwords in each
        run, which always reports a change.
    type: str
    choices: [always, on_create]
    default: on_create
  robot:
    description:
      - Name of the robot that owns the mirrored tags, with or without the namespace. Required for a
        new mirror.
    type: str
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
    description: Number of newest tags to select.
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
  referrers:
    description:
      - Signatures and other referrers to copy, V(all), V(none), or a list of artifact types. A new
        mirror copies all by default.
    type: list
    elements: str
  sync_interval:
    description:
      - Seconds between runs; V(0) runs the mirror only on request. A new mirror runs once a day by
        default.
    type: int
  sync_start_date:
    description: The first run, as V(2026-01-31T22:00:00Z). By default, a new mirror runs at once.
    type: str
  hours:
    description: Time of day, in UTC, within which runs begin, such as V(22:00-06:00).
    type: str
  enabled:
    description: Whether runs start on schedule. A new mirror is enabled by default.
    type: bool
  verify_tls:
    description: Whether the certificate of the other registry is verified. The default is V(true).
    type: bool
  ca_certificate:
    description: Further CA certificates for the other registry, in PEM format.
    type: str
  http_proxy:
    description:
      - Proxy for requests without TLS. By default, those of the container are used. The registry
        does not return a password in the URL; see O(update_password).
    type: str
  https_proxy:
    description: Proxy for requests with TLS, as O(http_proxy).
    type: str
  no_proxy:
    description: Hosts that are reached without a proxy, separated by commas.
    type: str
  tag_timeout:
    description: Seconds without progress after which a tag fails, at least 300.
    type: int
  rollback:
    description: Whether all tags change together or not at all.
    type: bool
  delete_after:
    description: Seconds after which a tag that the other registry no longer has is deleted.
    type: int
  delete_limit:
    description: The largest share of the tags, V(0) to V(1), that a run deletes unconfirmed.
    type: float
  immutable_tags:
    description: Patterns of tags that never change once they were copied.
    type: list
    elements: str
  state:
    description: V(absent) keeps the tags; the repository then accepts pushes again.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
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

import re
from datetime import datetime, timezone
from typing import Any

from ansible_collections.atoll.registry.plugins.module_utils.registry_api import (
    ApiError,
    Entity,
    RegistryApi,
    converge,
    registry_module,
)

# Options with another name in the API, and the others there. Those of `atoll` are not in Quay.
_SETTINGS = {
    "external_reference": "external_reference",
    "external_registry_username": "external_registry_username",
    "sync_interval": "sync_interval",
    "sync_start_date": "sync_start_date",
    "enabled": "is_enabled",
    "tag_timeout": "skopeo_timeout_interval",
    "architectures": "architecture_filter",
}
_OPTIONS = (
    "exclude",
    "semver",
    "newest",
    "newest_by",
    "max_age",
    "hours",
    "referrers",
    "ca_certificate",
    "rollback",
    "delete_after",
    "delete_limit",
    "immutable_tags",
)
_PROXIES = ("http_proxy", "https_proxy", "no_proxy")
# The password in the URL of a proxy, which the registry replaces by asterisks.
_PROXY_PASSWORD = re.compile(r"(?<=:)[^/]+(?=@[^@/]*/?$)")
_DAY = 86_400
_ALWAYS = "always"


class Mirror(Entity):
    """The mirror of a repository."""

    def read(self) -> dict[str, Any] | None:
        """Return the current state."""
        found = self.api.get_of_repository(self.params["name"], "mirror")
        if found is None:
            return None
        config = found["external_registry_config"]
        options = found.get("atoll") or {}
        proxy = config.get("proxy") or {}
        referrers = options.get("referrers")
        return {
            **{option: found[name] for option, name in _SETTINGS.items()},
            **{option: options.get(option) for option in _OPTIONS},
            **{option: proxy.get(option) for option in _PROXIES},
            "name": self.params["name"],
            "robot": found["robot_username"],
            "tags": found["root_rule"]["rule_value"],
            "verify_tls": config.get("verify_tls") is not False,
            "referrers": referrers if isinstance(referrers, list) else [referrers or "all"],
        }

    def wanted(self) -> dict[str, Any]:
        """Return the desired values."""
        names = (*_SETTINGS, *_OPTIONS, *_PROXIES, "robot", "tags", "verify_tls")
        values = {name: self.params[name] for name in names}
        for name in ("tags", "exclude", "immutable_tags"):
            if values[name] is not None:
                # One text may have several patterns.
                parts = (part.strip() for text in values[name] for part in text.split(","))
                values[name] = [part for part in parts if part]
        for name in _PROXIES:
            values[name] = _hidden(values[name])
        robot = values["robot"]
        if robot and "+" not in robot:
            values["robot"] = f"{self.params['name'].partition('/')[0]}+{robot}"
        return values

    def create(self) -> None:
        """Create the mirror."""
        wanted = {key: value for key, value in self.wanted().items() if value is not None}
        for option in ("external_reference", "robot"):
            if option not in wanted:
                raise ApiError(f"'{self.params['name']}' is no mirror yet, which needs {option}")
        now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        defaults = {"tags": ["*"], "sync_interval": _DAY, "sync_start_date": now}
        self.api.send("POST", *self._path(), body=self._body({**defaults, **wanted}))

    def change(self, differing: dict[str, Any]) -> None:
        """Change all differing values with one request."""
        if any(name in differing for name in _PROXIES):
            current = self.read() or {}
            differing = {**{name: current.get(name) for name in _PROXIES}, **differing}
        self.api.send("PUT", *self._path(), body=self._body(differing))

    def send_passwords(self) -> None:
        """Replace the passwords."""
        names = ("external_registry_username", *_PROXIES)
        values = {name: self.params[name] for name in names if self.params[name] is not None}
        if any(name in values for name in _PROXIES):
            current = self.read() or {}
            values = {**{name: current.get(name) for name in _PROXIES}, **values}
        self.api.send("PUT", *self._path(), body=self._body(values))

    def remove(self) -> None:
        """Remove the mirror, and keep the repository."""
        self.api.send("DELETE", *self._path())

    def _path(self) -> tuple[str, ...]:
        return ("repository", self.params["name"], "mirror")

    def _body(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return a request's body. The password accompanies its user name."""
        body = {name: values[option] for option, name in _SETTINGS.items() if option in values}
        if "robot" in values:
            body["robot_username"] = values["robot"]
        if "tags" in values:
            body["root_rule"] = {"rule_kind": "tag_glob_csv", "rule_value": values["tags"]}
        password = self.params["external_registry_password"]
        if "external_registry_username" in values and password is not None:
            body["external_registry_password"] = password
        config: dict[str, Any] = {}
        if "verify_tls" in values:
            config["verify_tls"] = values["verify_tls"]
        if any(option in values for option in _PROXIES):
            config["proxy"] = {option: self._proxy(values, option) for option in _PROXIES}
        if config:
            body["external_registry_config"] = config
        options = {option: values[option] for option in _OPTIONS if option in values}
        if options.get("referrers") in (["all"], ["none"]):
            options["referrers"] = options["referrers"][0]
        if options:
            body["atoll"] = options
        return body

    def _proxy(self, values: dict[str, Any], option: str) -> str | None:
        """Return the URL of a proxy; with its password if the options have it."""
        given, value = self.params[option], values.get(option)
        return given if given is not None and _hidden(given) == _hidden(value) else value


def _hidden(url: str | None) -> str | None:
    """Return a URL with asterisks instead of a password."""
    return None if url is None else _PROXY_PASSWORD.sub("********", url)


def main() -> None:
    """Bring the mirror to the desired state."""
    module = registry_module(
        {
            "name": {"type": "str", "required": True},
            "external_reference": {"type": "str"},
            "external_registry_username": {"type": "str"},
            "external_registry_password": {"type": "str", "no_log": True},
            "update_password": {
                "type": "str",
                "choices": ["always", "on_create"],
                "default": "on_create",
                "no_log": False,
            },
            "robot": {"type": "str"},
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
            "referrers": {"type": "list", "elements": "str"},
            "sync_interval": {"type": "int"},
            "sync_start_date": {"type": "str"},
            "hours": {"type": "str"},
            "enabled": {"type": "bool"},
            "verify_tls": {"type": "bool"},
            "ca_certificate": {"type": "str"},
            "http_proxy": {"type": "str"},
            "https_proxy": {"type": "str"},
            "no_proxy": {"type": "str"},
            "tag_timeout": {"type": "int"},
            "rollback": {"type": "bool"},
            "delete_after": {"type": "int"},
            "delete_limit": {"type": "float"},
            "immutable_tags": {"type": "list", "elements": "str"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        }
    )
    params = module.params
    has_password = params["external_registry_password"] is not None
    if has_password and params["external_registry_username"] is None:
        module.fail_json(msg="external_registry_password requires external_registry_username")
    proxy_passwords = {
        match[0] for name in _PROXIES if (match := _PROXY_PASSWORD.search(params[name] or ""))
    }
    module.no_log_values |= proxy_passwords
    try:
        mirror = Mirror(RegistryApi(params), params)
        before, after = converge(mirror, params["state"], check_mode=module.check_mode)
        changed = before != after
        # A new mirror has the password already.
        sends_always = params["update_password"] == _ALWAYS
        if before and after and (has_password or proxy_passwords) and sends_always:
            changed = True
            if not module.check_mode:
                mirror.send_passwords()
    except ApiError as error:
        module.fail_json(msg=str(error))
    answer = {} if after is None else {"mirror": after}
    module.exit_json(changed=changed, diff={"before": before or {}, "after": after or {}}, **answer)


if __name__ == "__main__":
    main()
