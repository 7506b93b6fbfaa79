"""The components of Quay's Operator: what it accepts of them, and what to do without it."""

from __future__ import annotations

from atoll.kubernetes.findings import Findings
from atoll.kubernetes.quay_registry import Component, QuayRegistry

QUAY, MIRROR, ROUTE, TLS = "quay", "mirror", "route", "tls"
_CLAIR, _CLAIR_DATABASE, _AUTOSCALER = "clair", "clairpostgres", "horizontalpodautoscaler"

_WORKLOADS = frozenset({QUAY, MIRROR, _CLAIR})
_DATABASES = frozenset({"postgres", _CLAIR_DATABASE})
_CONTAINERS = _WORKLOADS | _DATABASES | {"redis"}
# The kinds for which the Operator accepts an override.
_SUPPORTING = {
    "env": _CONTAINERS,
    "labels": _CONTAINERS,
    "annotations": _CONTAINERS,
    "resources": _CONTAINERS - {"redis"},
    "replicas": _WORKLOADS,
    "affinity": _WORKLOADS,
    "volumeSize": _DATABASES | {_CLAIR},
    "storageClassName": _DATABASES,
    "securityContext": frozenset({QUAY, MIRROR}),
}
# What else a registry needs if the Operator no longer runs these.
_REQUIRED = {
    "postgres": (
        "give DB_URI of a PostgreSQL that all sites reach in config.yaml, and set managed: false"
    ),
    "redis": (
        "give BUILDLOGS_REDIS and USER_EVENTS_REDIS of a Redis that all sites reach in config.yaml,"
        " and set managed: false"
    ),
    "objectstorage": (
        "give DISTRIBUTED_STORAGE_CONFIG with a store for each site in config.yaml, and set"
        " managed: false"
    ),
    _CLAIR_DATABASE: (
        "give your Clair a PostgreSQL of its own (atoll_clair), and set managed: false for clair"
        " and clairpostgres"
    ),
}
_OPTIONAL = {
    _CLAIR: (
        "no Clair is rendered: run one on a host of atoll_clair, or set"
        " SECURITY_SCANNER_V4_ENDPOINT to your own"
    ),
    _AUTOSCALER: "replicas are fixed: set kubernetes_replicas",
    "monitoring": (
        "dashboards and alerts of the Operator are not rendered: set kubernetes_service_monitor:"
        " true for Prometheus, and see docs/how-to/alerts.md"
    ),
    "configeditor": "Atoll has no editor for the bundle: change config.yaml",
}
_KINDS = _CONTAINERS | _REQUIRED.keys() | _OPTIONAL.keys() | {ROUTE, TLS}


class Components:
    """The components of one registry with the Operator's defaults.

    Args:
        registry: the registry.
    """

    def __init__(self, registry: QuayRegistry) -> None:
        self._registry = registry
        self._declared: dict[str, tuple[int, Component]] = {}
        for index, component in enumerate(registry.components):
            self._declared.setdefault(component.kind, (index, component))

    def get(self, kind: str) -> Component | None:
        """Return a declared component."""
        return self._declared[kind][1] if kind in self._declared else None

    def is_managed(self, kind: str) -> bool:
        """Return whether the Operator runs a component. It does unless that is declined."""
        component = self.get(kind)
        return kind == QUAY or component is None or component.managed

    def path(self, kind: str) -> tuple[str | int, ...]:
        """Return the path of a component in `spec`; that of all components if not declared."""
        return (
            ("components", self._declared[kind][0]) if kind in self._declared else ("components",)
        )

    def check(self, findings: Findings) -> None:
        """Find what the Operator refuses, and what it runs that the inventory cannot replace."""
        for index, component in enumerate(self._registry.components):
            self._check_declaration(index, component, findings)
        for kind, remedy in _REQUIRED.items():
            needed = kind != _CLAIR_DATABASE or self.is_managed(_CLAIR)
            if needed and self.is_managed(kind):
                place = self._registry.place(*self.path(kind))
                findings.problem(place, f"{kind} is {self._state(kind)}: {remedy}")
        for kind, text in _OPTIONAL.items():
            is_obsolete = kind == "configeditor" and self.get(kind) is None
            if self.is_managed(kind) and not is_obsolete:
                place = self._registry.place(*self.path(kind))
                findings.note(place, f"{kind} is {self._state(kind)}: {text}")

    def _state(self, kind: str) -> str:
        return "managed" if kind in self._declared else "not declared, and so managed"

    def _check_declaration(self, index: int, component: Component, findings: Findings) -> None:
        kind, path = component.kind, ("components", index)
        place = self._registry.place(*path)
        if kind not in _KINDS:
            findings.problem(place, f"{kind} is no component of the Operator; remove it")
            return
        if self._declared[kind][0] != index:
            findings.problem(place, f"{kind} is declared twice; remove one of the declarations")
            return
        if kind == QUAY and not component.managed:
            findings.note(place, "quay is always managed: the Operator ignores managed: false")
        for field in component.model_extra or ():
            findings.problem(
                self._registry.place(*path, field),
                f"{kind} has the unknown field {field}; remove it, and put what it refers to into"
                " config.yaml",
            )
        self._check_overrides(component, path, findings)

    def _check_overrides(
        self, component: Component, path: tuple[str | int, ...], findings: Findings
    ) -> None:
        kind, overrides = component.kind, component.overrides
        given = overrides.given()
        if given and not self.is_managed(kind):
            findings.problem(
                self._registry.place(*path, "overrides"),
                f"{kind} is not managed, and the Operator refuses overrides of it; remove them",
            )
            return
        for name in given:
            place = self._registry.place(*path, "overrides", name)
            if name not in _SUPPORTING:
                findings.problem(place, f"{kind}: the Operator has no override {name}; remove it")
            elif kind not in _SUPPORTING[name]:
                findings.problem(
                    place, f"{kind}: the Operator refuses the override {name}; remove it"
                )
            elif name == "replicas" and overrides.replicas and self.is_managed(_AUTOSCALER):
                findings.problem(
                    place,
                    f"{kind}: the Operator refuses replicas other than 0 while"
                    " horizontalpodautoscaler is managed; set it to managed: false",
                )
            elif kind not in {QUAY, MIRROR}:
                findings.note(place, f"{kind}: {name} is not taken, because nothing runs it here")
            elif name == "securityContext":
                findings.note(
                    place,
                    f"{kind}: securityContext is not taken: pods are restricted and have no fixed"
                    " user id",
                )
