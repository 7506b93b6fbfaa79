"""Environment variables of a component, and the variables of the inventory that replace some."""

from __future__ import annotations

from typing import Any

from atoll.config.load import OVERRIDE_VARIABLE, PREFERENCE_VARIABLE, parse_preference
from atoll.kubernetes.components import Components
from atoll.kubernetes.findings import Findings, Place
from atoll.kubernetes.quay_registry import QuayRegistry, Variable

# The number of processes of Quay's registry; the first one takes precedence, as in Atoll.
_WORKER_COUNTS = ("WORKER_COUNT_REGISTRY", "WORKER_COUNT")
# Variables of Quay's image. Those that Atoll reads as well are handled by name.
_QUAY_PREFIXES = ("QUAY_", "QUAYCONF", "QUAYDIR", "QUAYPATH", "WORKER_")
_QUAY_NAMES = frozenset({"DB_CONNECTION_POOLING", "DEBUGLOG", "IGNORE_VALIDATION"})


class Environment:
    """The variables that a QuayRegistry sets in the containers of a component.

    Args:
        registry: the registry.
        components: its components.
        kind: the component.
        findings: gets what is not taken.

    Attributes:
        preference: the locations of QUAY_DISTRIBUTED_STORAGE_PREFERENCE; empty if it is not set.
        place: the place of that variable, or of the component.
        worker_count: the number of processes; None if it is not set.
        others: the variables that containers of Atoll get as well.
    """

    def __init__(
        self, registry: QuayRegistry, components: Components, kind: str, findings: Findings
    ) -> None:
        self._kind = kind
        self._findings = findings
        self.preference: list[str] = []
        self.place = registry.place(*components.path(kind))
        self.worker_count: int | None = None
        self.others: list[dict[str, Any]] = []
        component = components.get(kind)
        if component is None or not components.is_managed(kind):
            return
        path = (*components.path(kind), "overrides", "env")
        seen: dict[str, tuple[Variable, Place]] = {}
        for index, variable in enumerate(component.overrides.env):
            place = registry.place(*path, index)
            if variable.name in seen:
                findings.problem(place, f"{kind}: {variable.name} is set twice; remove one value")
            seen[variable.name] = variable, place
        for variable, place in seen.values():
            self._take(variable, place)
        self.worker_count = self._worker_count(seen)

    def _take(self, variable: Variable, place: Place) -> None:
        name = variable.name
        if name == PREFERENCE_VARIABLE:
            self.place = place
            self.preference = parse_preference(variable.value or "")
            if not self.preference:
                self._findings.problem(
                    place, f"{self._kind}: {name} must have the names of locations as its value"
                )
        elif name == OVERRIDE_VARIABLE:
            self._findings.problem(
                place,
                f"{self._kind}: {name} is not taken, because the bundle must be the same at all"
                " sites; put its keys into config.yaml",
            )
        elif name in _WORKER_COUNTS:
            pass
        elif name.startswith(_QUAY_PREFIXES) or name in _QUAY_NAMES:
            self._findings.note(
                place, f"{self._kind}: {name} is not taken: it has no effect in Atoll"
            )
        else:
            self.others.append(variable.as_dict())

    def _worker_count(self, seen: dict[str, tuple[Variable, Place]]) -> int | None:
        for name in _WORKER_COUNTS:
            if name not in seen:
                continue
            variable, place = seen[name]
            text = variable.value or ""
            if text.isdecimal() and int(text) > 0:
                return int(text)
            self._findings.problem(
                place,
                f"{self._kind}: {name} must be a number of processes; set registry_worker_count",
            )
        return None
