"""The sites on clusters of an inventory: the hosts of the group `atoll_kubernetes`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.atoll.registry.plugins.filter.bundle import bundle_fingerprint
from ansible_collections.atoll.registry.plugins.plugin_utils.kubernetes.bundle import Bundle
from ansible_collections.atoll.registry.plugins.plugin_utils.kubernetes.site import Site
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.inventory import (
    Host,
    Inventory,
    Roles,
)

GROUP = "atoll_kubernetes"
ROLE = "kubernetes"


class Cluster(Host):
    """A host that stands for a cluster. It has the variables of the registry, and no services."""

    @property
    def components(self) -> list[str]:
        """The roles with images whose files and variables are checked."""
        return ["registry"]

    @property
    def roles(self) -> list[str]:
        """The roles whose variables are checked."""
        return [ROLE]


class Clusters(Inventory):
    """The sites on clusters, as the checks of a preflight see an inventory."""

    def __init__(self, hostvars: Any, groups: Mapping[str, Any], roles: Roles) -> None:
        super().__init__(hostvars, {}, roles)
        names = [str(name) for name in groups.get(GROUP, [])]
        self.hosts: dict[str, Host] = {
            name: Cluster(name, hostvars.raw_get(name), hostvars, roles) for name in names
        }

    def running(self, role: str) -> list[Host]:
        """Return the hosts that a role runs on."""
        return list(self.hosts.values()) if role == "registry" else []

    def components(self) -> Iterator[tuple[Host, str]]:
        """Yield each component as its host and its role."""
        for host in self.hosts.values():
            yield host, "registry"

    def options(self, host: Host) -> dict[str, Any]:
        """Return the variables of the role kubernetes, with their types and defaults."""
        validator = ArgumentSpecValidator(self.roles.options(ROLE))
        result = validator.validate(host.options(ROLE), validate_role_argument_spec=True)
        return dict(result.validated_parameters)

    def site(self, name: str, *, stopped: bool = False) -> Site:
        """Return a site, whose variables have no errors.

        Args:
            name: The name of its host.
            stopped: Whether the site is stopped.
        """
        options = self.options(self.hosts[name])
        bundle = self.bundle(options)
        return Site(options, bundle, bundle_fingerprint(bundle.deployed_config), stopped)

    def bundle(self, options: Mapping[str, Any]) -> Bundle:
        """Return the bundle that variables describe.

        Raises:
            AnsibleError: A file cannot be read.
        """
        database = options.get("registry_database_ca_file")
        return Bundle(
            options["registry_config"],
            self._text(options["registry_tls_certificate_file"]),
            self._text(options["registry_tls_key_file"]),
            self._text(database) if database else None,
            {
                PurePosixPath(path).name: self._text(path)
                for path in options["registry_extra_ca_files"]
            },
        )

    def _text(self, path: str) -> str:
        return self.read(path).decode()
