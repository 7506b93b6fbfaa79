"""The hosts of an inventory with the values of their variables, as roles would see them."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.atoll.registry.plugins.plugin_utils.plain import plain

try:
    from ansible.template import trust_as_template
except ImportError:  # ansible-core 2.18 trusts all text.

    def trust_as_template(value: str) -> str:
        """Return the text."""
        return value


# The group whose hosts stand for sites on Kubernetes clusters. It is no child of `atoll`, because
# no play connects to them.
CLUSTERS = "atoll_kubernetes"
# The group whose hosts each role runs on.
COMPONENTS = {
    "registry": "atoll_sites",
    "postgres": "atoll_postgres",
    "redis": "atoll_redis",
    "clair": "atoll_clair",
    "load_balancer": "atoll_load_balancer",
}
_UNDEFINED = re.compile(r"'([^']+)' is undefined")
_MISSING = object()


class Roles:
    """The roles of the collection: their specifications and their defaults."""

    def __init__(self, loader: DataLoader, folder: Path) -> None:
        self.loader = loader
        self._folder = folder
        self.names = sorted(path.name for path in folder.iterdir() if path.is_dir())

    @functools.cached_property
    def specifications(self) -> dict[str, dict[str, Any]]:
        """The entry points of each role with their options."""
        return {
            name: self._read(name, "meta/argument_specs.yml")["argument_specs"]
            for name in self.names
        }

    @functools.cached_property
    def defaults(self) -> dict[str, dict[str, Any]]:
        """The defaults of each role, which may be templates."""
        return {name: _trusted(self._read(name, "defaults/main.yml")) for name in self.names}

    def options(self, role: str) -> dict[str, Any]:
        """Return the options of a role's main entry point; none for an unknown role."""
        entry = self.specifications.get(role, {}).get("main", {})
        return dict(entry.get("options") or {})

    def variables(self) -> set[str]:
        """Return the names of all variables of all entry points."""
        return {
            name
            for entries in self.specifications.values()
            for entry in entries.values()
            for name in entry.get("options") or {}
        }

    def _read(self, role: str, file: str) -> dict[str, Any]:
        path = self._folder / role / file
        if not path.is_file():
            return {"argument_specs": {}} if file.startswith("meta/") else {}
        return plain(self.loader.load_from_file(str(path))) or {}


class Host:
    """A host and its variables.

    Attributes:
        name: Name in the inventory.
        groups: Names of its groups.
        raw: The variables before templating, without the defaults of roles.
        undefined: Names of undefined variables, each with the places that refer to it.
        invalid: Messages for other errors in templates, by place.
    """

    def __init__(self, name: str, raw: Mapping[str, Any], hostvars: Any, roles: Roles) -> None:
        self.name = name
        self.raw = raw
        self.groups = frozenset(raw.get("group_names", []))
        self.undefined: dict[str, list[str]] = {}
        self.invalid: dict[str, str] = {}
        self._roles = roles
        self._values: dict[str, Any] = {}
        variables: dict[str, Any] = {}
        for role in roles.names:
            variables |= roles.defaults[role]
        variables |= {**raw, "hostvars": hostvars}
        self._variables = variables
        self._templar = Templar(loader=roles.loader, variables=variables)

    @property
    def components(self) -> list[str]:
        """The roles with images that run on the host."""
        return [role for role, group in COMPONENTS.items() if group in self.groups]

    @property
    def is_cluster(self) -> bool:
        """Whether the host stands for a site on a cluster."""
        return CLUSTERS in self.groups and "atoll" not in self.groups

    @property
    def roles(self) -> list[str]:
        """All roles that run on the host, or that render the manifests of the cluster."""
        if self.is_cluster:
            return ["kubernetes"]
        floating = "load_balancer" in self.components and "keepalived_address" in self.raw
        return ["host", *self.components, *(["keepalived"] if floating else [])]

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value of a variable; the default if it is not set or cannot be evaluated."""
        if name not in self._values:
            if name in self._variables:
                self._values[name] = self._evaluate(self._variables[name], name)
            else:
                self._values[name] = _MISSING
        value = self._values[name]
        return default if value is _MISSING else value

    def text(self, name: str) -> str:
        """Return the value of a variable as text; empty if it has none."""
        value = self.get(name)
        return "" if value is None else str(value)

    def failed(self, name: str) -> bool:
        """Return whether the value of a variable, or of one of its parts, cannot be evaluated."""
        self.get(name)
        places = [place for users in self.undefined.values() for place in users]
        return any(
            place == name or place.startswith(f"{name}.") for place in [*places, *self.invalid]
        )

    def failed_keys(self, name: str) -> set[str]:
        """Return the keys of a map whose values cannot be evaluated."""
        self.get(name)
        places = [place for users in self.undefined.values() for place in users]
        return {
            place.split(".")[1]
            for place in [*places, *self.invalid]
            if place.startswith(f"{name}.")
        }

    def options(self, role: str) -> dict[str, Any]:
        """Return the variables of a role that are set and can be evaluated."""
        names = self._roles.options(role)
        values = {name: self.get(name, _MISSING) for name in names}
        return {name: value for name, value in values.items() if value is not _MISSING}

    def _evaluate(self, value: Any, place: str) -> Any:
        """Evaluate each part by itself, so that all undefined variables are found."""
        if isinstance(value, Mapping):
            parts = {
                str(key): self._evaluate(item, f"{place}.{key}") for key, item in value.items()
            }
            return {key: item for key, item in parts.items() if item is not _MISSING}
        if isinstance(value, (list, tuple)):
            items = [self._evaluate(item, f"{place}.{n}") for n, item in enumerate(value)]
            return [item for item in items if item is not _MISSING]
        if not isinstance(value, str):
            return plain(value)
        try:
            return plain(self._templar.template(value))
        except AnsibleError as error:
            self._record(str(error), place)
        return _MISSING

    def _record(self, message: str, place: str) -> None:
        found = _UNDEFINED.search(message)
        if found is None:
            self.invalid[place] = " ".join(message.split())
        elif place not in self.undefined.setdefault(found[1], []):
            self.undefined[found[1]].append(place)


class Inventory:
    """The hosts of the group `atoll`, of the groups of its components, and of clusters.

    Attributes:
        hosts: The hosts by name, without those that stand for clusters.
        clusters: The hosts that stand for clusters, by name.
    """

    def __init__(self, hostvars: Any, groups: Mapping[str, Any], roles: Roles) -> None:
        self.roles = roles
        self.groups = {str(name): [str(host) for host in hosts] for name, hosts in groups.items()}
        self._contents: dict[str, bytes | str] = {}
        names = dict.fromkeys(
            host for group in ("atoll", *COMPONENTS.values()) for host in self.groups.get(group, [])
        )
        self.hosts = {name: Host(name, hostvars.raw_get(name), hostvars, roles) for name in names}
        self.clusters = {
            name: Host(name, hostvars.raw_get(name), hostvars, roles)
            for name in self.groups.get(CLUSTERS, [])
            if name not in self.hosts
        }

    def members(self, group: str) -> list[Host]:
        """Return the hosts of a group in the order of the inventory."""
        return [self.hosts[name] for name in self.groups.get(group, []) if name in self.hosts]

    def running(self, role: str) -> list[Host]:
        """Return the hosts that a role runs on."""
        return self.members(COMPONENTS[role])

    def all(self) -> list[Host]:
        """Return all hosts, and then those that stand for clusters."""
        return [*self.hosts.values(), *self.clusters.values()]

    def sites(self) -> list[Host]:
        """Return the hosts that run the registry, and then those that stand for clusters."""
        return [*self.running("registry"), *self.clusters.values()]

    def read(self, path: str) -> bytes:
        """Return the content of a file on the controller, decrypted if it is in a vault.

        Raises:
            AnsibleError: The file does not exist, cannot be read, or cannot be decrypted.
        """
        if path not in self._contents:
            self._contents[path] = self._read(path)
        content = self._contents[path]
        if isinstance(content, bytes):
            return content
        raise AnsibleError(content)

    def read_error(self, path: str) -> str:
        """Return why a file cannot be read; empty if it can be read."""
        try:
            self.read(path)
        except AnsibleError as error:
            return str(error)
        return ""

    def _read(self, path: str) -> bytes | str:
        loader = self.roles.loader
        if not loader.is_file(path):
            return "it is not a file" if loader.path_exists(path) else "it does not exist"
        decrypted = ""
        try:
            decrypted = loader.get_real_file(path)
            return Path(decrypted).read_bytes()
        except (AnsibleError, OSError) as error:
            return " ".join(str(error).split()).removesuffix(".")
        finally:
            loader.cleanup_tmp_file(decrypted)

    def components(self) -> Iterator[tuple[Host, str]]:
        """Yield each component as its host and its role."""
        for host in self.hosts.values():
            for role in host.components:
                yield host, role

    def files_of(self) -> Iterator[tuple[Host, str]]:
        """Yield each component, and each cluster as its host and the role `registry`."""
        yield from self.components()
        for host in self.clusters.values():
            yield host, "registry"


def _trusted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _trusted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_trusted(item) for item in value]
    return trust_as_template(value) if isinstance(value, str) else value
