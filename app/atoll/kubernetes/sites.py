"""Variables of a site from a QuayRegistry."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from atoll.config.load import PREFERENCE_VARIABLE
from atoll.kubernetes.components import MIRROR, QUAY, ROUTE, TLS, Components
from atoll.kubernetes.environment import Environment
from atoll.kubernetes.findings import Findings
from atoll.kubernetes.quay_registry import QuayRegistry
from atoll.kubernetes.workloads import workload_overrides

# Names of the rendered resources begin with it.
_RESOURCE_NAME = re.compile(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?")


class Site:
    """A registry on a cluster as a site of the inventory.

    Args:
        registry: the registry.
        findings: gets what is not taken.

    Attributes:
        registry: the registry.
        runs_mirror: whether the site mirrors repositories.
        preference: the locations of the site; empty if they are unknown.
    """

    def __init__(self, registry: QuayRegistry, findings: Findings) -> None:
        self.registry = registry
        self._findings = findings
        self._components = Components(registry)
        for field in registry.unknown:
            findings.problem(
                registry.place(field), f"spec has the unknown field {field}; remove it"
            )
        self._components.check(findings)
        self._environments = {
            kind: Environment(registry, self._components, kind, findings) for kind in (QUAY, MIRROR)
        }
        self.runs_mirror = self._components.is_managed(MIRROR)
        self.preference = self._environments[QUAY].preference

    def complete_preference(self, default: list[str], locations: Collection[str]) -> None:
        """Check the preference of the site, and compare it with that of its mirror.

        Args:
            default: that of the bundle if the site is the only one; empty otherwise.
            locations: the locations of the bundle; empty if they are unknown.
        """
        own, mirror = self._environments[QUAY], self._environments[MIRROR]
        if not own.preference and default:
            self._findings.note(
                own.place,
                f"quay has no {PREFERENCE_VARIABLE}: registry_storage_preference is the bundle's"
                " DISTRIBUTED_STORAGE_PREFERENCE",
            )
            self.preference = default
        elif not own.preference:
            self._findings.problem(
                own.place,
                f"quay has no {PREFERENCE_VARIABLE}: set registry_storage_preference to the"
                " locations of this site, its own first",
            )
        for environment in (own, mirror):
            for name in environment.preference:
                if locations and name not in locations:
                    self._findings.problem(
                        environment.place,
                        f"{PREFERENCE_VARIABLE}: '{name}' is no location of"
                        " DISTRIBUTED_STORAGE_CONFIG in the bundle, which has"
                        f" {', '.join(locations)}",
                    )
        self._compare(own, mirror)

    def variables(self, name: str, workloads: Collection[str]) -> dict[str, Any]:
        """Return the variables of the site's host.

        Args:
            name: the name of the site.
            workloads: those that the bundle enables.
        """
        registry = self.registry
        found: dict[str, Any] = {"site_platform": "kubernetes", "registry_site": name}
        if self.preference:
            found["registry_storage_preference"] = self.preference
        if _RESOURCE_NAME.fullmatch(registry.name):
            found["kubernetes_name"] = registry.name
        else:
            self._findings.problem(
                registry.document.place("metadata", "name"),
                f"kubernetes_name cannot be {registry.name}: set one of at most 40 characters, a-z,"
                " 0-9 and -, that starts with a letter",
            )
        if registry.namespace:
            found["kubernetes_namespace"] = registry.namespace
        else:
            self._findings.note(
                registry.document.place("metadata"),
                f"metadata has no namespace: kubernetes_namespace is {registry.name}, its name",
            )
        found |= self._network()
        worker_count = self._environments[QUAY].worker_count
        if worker_count is not None:
            found["registry_worker_count"] = worker_count
        if not self.runs_mirror:
            found["registry_mirror"] = "false"
        environments = {kind: one.others for kind, one in self._environments.items()}
        overrides = workload_overrides(
            registry, self._components, environments, workloads, self._findings
        )
        if overrides:
            found["kubernetes_overrides"] = overrides
        return found

    def _compare(self, own: Environment, mirror: Environment) -> None:
        if not self.runs_mirror or mirror.preference == own.preference:
            return
        if mirror.preference:
            self._findings.problem(
                mirror.place,
                f"mirror prefers {' '.join(mirror.preference)}, and quay"
                f" {' '.join(own.preference) or 'nothing'}; a site has one"
                " registry_storage_preference, so make both equal",
            )
        elif self._components.get(MIRROR) is not None:
            self._findings.note(
                mirror.place,
                f"mirror has no {PREFERENCE_VARIABLE}: it gets that of quay, as all processes of a"
                " site do",
            )

    def _network(self) -> dict[str, Any]:
        """Return the variables of the way into the cluster."""
        components, registry = self._components, self.registry
        place = registry.place(*components.path(ROUTE))
        if components.get(ROUTE) is None or not components.is_managed(ROUTE):
            self._findings.note(
                place,
                "route is not managed by this file: choose kubernetes_ingress or"
                " kubernetes_service_type, and set kubernetes_address for load balancers",
            )
            return {}
        if components.is_managed(TLS):
            self._findings.note(
                registry.place(*components.path(TLS)),
                "tls is managed: the certificate of the cluster is not used, because the Route"
                " passes TLS through to the certificate of the bundle",
            )
        return {"kubernetes_ingress": "route"}
