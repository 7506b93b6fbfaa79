"""What the modules of mirrors share: options, their form in the API, and passwords."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, ClassVar

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.atoll.registry.plugins.module_utils.registry_api import (
    ApiError,
    Entity,
    RegistryApi,
    converge,
)

# The options of the documentation fragment `mirror`.
ARGUMENTS: dict[str, dict[str, Any]] = {
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
    "sync_start_date": {"type": "str"},
    "hours": {"type": "str"},
    "enabled": {"type": "bool"},
    "verify_tls": {"type": "bool"},
    "ca_certificate": {"type": "str"},
    "http_proxy": {"type": "str"},
    "https_proxy": {"type": "str"},
    "no_proxy": {"type": "str"},
    "rollback": {"type": "bool"},
    "delete_after": {"type": "int"},
    "delete_limit": {"type": "float"},
    "immutable_tags": {"type": "list", "elements": "str"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}
# Options with another name in the API, and the others there. Those of `atoll` are not in Quay.
_SETTINGS = {
    "external_registry_username": "external_registry_username",
    "robot": "robot_username",
    "sync_interval": "sync_interval",
    "sync_start_date": "sync_start_date",
    "enabled": "is_enabled",
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


class MirrorEntity(Entity):
    """The mirror of a repository or of an organization.

    Attributes:
        settings: The further options that are fields of the API, with their names there.
        required: The options that a new mirror needs.
        patterns: The options whose texts may have several patterns, separated by commas.
        upstream: The options that name the upstream. The registry needs the password again if they
            or the proxies change.
        defaults: The values of a new mirror that the registry does not have.
    """

    settings: ClassVar[Mapping[str, str]]
    required: ClassVar[tuple[str, ...]]
    patterns: ClassVar[tuple[str, ...]] = ("tags", "exclude", "immutable_tags")
    upstream: ClassVar[tuple[str, ...]]
    defaults: ClassVar[Mapping[str, Any]] = {}

    def fetch(self) -> dict[str, Any] | None:
        """Return the mirror as the API returns it, or None."""
        raise NotImplementedError

    def path(self) -> tuple[str, ...]:
        """Return the path of the mirror in the API."""
        raise NotImplementedError

    def selection(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options `tags` and `architectures` of a mirror that the API returned."""
        raise NotImplementedError

    def select(self, body: dict[str, Any], selection: Mapping[str, Any]) -> None:
        """Add `tags` (a rule) and `architectures`, as far as they are given, to a request."""
        raise NotImplementedError

    def read(self) -> dict[str, Any] | None:
        """Return the current state."""
        found = self.fetch()
        if found is None:
            return None
        config = found["external_registry_config"]
        options = found.get("atoll") or {}
        proxy = config.get("proxy") or {}
        referrers = options.get("referrers")
        return {
            **{option: found[name] for option, name in self._fields().items()},
            **{option: options.get(option) for option in _OPTIONS},
            **{option: proxy.get(option) for option in _PROXIES},
            **self.selection(found),
            "name": self.params["name"],
            "verify_tls": config.get("verify_tls") is not False,
            "referrers": referrers if isinstance(referrers, list) else [referrers or "all"],
        }

    def wanted(self) -> dict[str, Any]:
        """Return the desired values."""
        own = ("tags", "architectures", "verify_tls")
        names = (*self._fields(), *_OPTIONS, *_PROXIES, *own)
        values = {name: self.params[name] for name in names}
        for name in self.patterns:
            if values[name] is not None:
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
        for option in self.required:
            if option not in wanted:
                raise ApiError(f"'{self.params['name']}' is no mirror yet, which needs {option}")
        now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        defaults = {"sync_interval": _DAY, "sync_start_date": now, **self.defaults}
        self.api.send("POST", *self.path(), body=self._body({**defaults, **wanted}))

    def change(self, differing: dict[str, Any]) -> None:
        """Change all differing values with one request."""
        user = "external_registry_username"
        has_new_route = any(name in differing for name in (*self.upstream, *_PROXIES))
        if has_new_route and self.params["external_registry_password"] is not None:
            differing = {user: self.params[user], **differing}
        self._send(differing)

    def send_passwords(self) -> None:
        """Replace the passwords."""
        names = ("external_registry_username", *_PROXIES)
        self._send({name: self.params[name] for name in names if self.params[name] is not None})

    def remove(self) -> None:
        """Remove the mirror, and keep all tags."""
        self.api.send("DELETE", *self.path())

    def _fields(self) -> dict[str, str]:
        return {**_SETTINGS, **self.settings}

    def _send(self, values: dict[str, Any]) -> None:
        """Change values. The registry replaces all proxies at once."""
        if any(name in values for name in _PROXIES):
            current = self.read() or {}
            values = {**{name: current.get(name) for name in _PROXIES}, **values}
        self.api.send("PUT", *self.path(), body=self._body(values))

    def _body(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return a request's body. The password accompanies its user name."""
        body = {name: values[option] for option, name in self._fields().items() if option in values}
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
        names = ("tags", "architectures")
        selection: dict[str, Any] = {name: values[name] for name in names if name in values}
        if "tags" in selection:
            selection["tags"] = {"rule_kind": "tag_glob_csv", "rule_value": values["tags"]}
        self.select(body, selection)
        return body

    def _proxy(self, values: dict[str, Any], option: str) -> str | None:
        """Return the URL of a proxy; with its password if the options have it."""
        given, value = self.params[option], values.get(option)
        return given if given is not None and _hidden(given) == _hidden(value) else value


def _hidden(url: str | None) -> str | None:
    """Return a URL with asterisks instead of a password."""
    return None if url is None else _PROXY_PASSWORD.sub("********", url)


def run_mirror(module: AnsibleModule, kind: type[MirrorEntity]) -> None:
    """Run a module that manages a mirror.

    Args:
        module: The module.
        kind: The class of the mirror.
    """
    params = module.params
    has_password = params["external_registry_password"] is not None
    if has_password and params["external_registry_username"] is None:
        module.fail_json(msg="external_registry_password requires external_registry_username")
    proxy_passwords = {
        match[0] for name in _PROXIES if (match := _PROXY_PASSWORD.search(params[name] or ""))
    }
    module.no_log_values |= proxy_passwords
    try:
        mirror = kind(RegistryApi(params), params)
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
