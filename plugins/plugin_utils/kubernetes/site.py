"""A site on a cluster: its variables, and the names and labels of its objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.atoll.registry.plugins.filter.mirroring import runs_mirror
from ansible_collections.atoll.registry.plugins.plugin_utils.kubernetes.bundle import Bundle

REGISTRY, REPLICATION, MIRROR, MIGRATION = "registry", "replication", "mirror", "migrate"
PREFIX = "atoll.registry"


@dataclass(frozen=True)
class Site:
    """A site on a cluster.

    Attributes:
        options: The variables of the role kubernetes, after validation.
        bundle: The bundle.
        fingerprint: The fingerprint of the bundle that its instances report.
        stopped: Whether the site is stopped while the first one is upgraded.
    """

    options: Mapping[str, Any]
    bundle: Bundle
    fingerprint: str
    stopped: bool = False

    @property
    def name(self) -> str:
        """The name of the site."""
        return str(self.options["registry_site"])

    @property
    def namespace(self) -> str:
        """The namespace of all objects."""
        return str(self.options["kubernetes_namespace"])

    @property
    def components(self) -> list[str]:
        """The components that run permanently."""
        return components(self.options)

    def resource(self, *parts: str) -> str:
        """Return the name of an object."""
        return "-".join((str(self.options["kubernetes_name"]), *parts))

    def selector(self, component: str | None = None) -> dict[str, str]:
        """Return the labels by which the pods of a component, or all pods, are selected."""
        labels = {
            "app.kubernetes.io/name": "atoll",
            "app.kubernetes.io/instance": str(self.options["kubernetes_name"]),
        }
        return labels | ({"app.kubernetes.io/component": component} if component else {})

    def labels(self, component: str | None = None) -> dict[str, str]:
        """Return the labels of an object."""
        return self.selector(component) | {
            "app.kubernetes.io/managed-by": "ansible",
            f"{PREFIX}/site": self.name,
        }

    def metadata(self, *parts: str, component: str | None = None) -> dict[str, Any]:
        """Return the metadata of an object in the namespace."""
        return {
            "name": self.resource(*parts),
            "namespace": self.namespace,
            "labels": self.labels(component),
        }


def components(options: Mapping[str, Any]) -> list[str]:
    """Return the components that run permanently at a site with these variables."""
    bundle = options["registry_config"]
    found = [REGISTRY]
    if boolean(bundle.get("FEATURE_STORAGE_REPLICATION", False), strict=False):
        found.append(REPLICATION)
    if runs_mirror(bundle, options["registry_mirror"]):
        found.append(MIRROR)
    return found
