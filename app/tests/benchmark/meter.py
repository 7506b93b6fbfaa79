"""The processor time that each server spends on a measurement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..container_processes import processes_of, processor_seconds, program
from .containers import Container

# nginx is a part of the registry that is shown by itself.
NGINX = "nginx"


class Meter:
    """Measures the processor time of groups of containers since it was created or last read.

    Args:
        groups: the containers of each group.
    """

    def __init__(self, groups: Mapping[str, Sequence[Container]]) -> None:
        self._groups = groups
        self._last = self._read()

    def read(self) -> dict[str, float]:
        """Return the processor time in seconds, by group, and that of nginx."""
        now = self._read()
        spent = {name: now[name] - self._last.get(name, 0.0) for name in now}
        self._last = now
        return spent

    def _read(self) -> dict[str, float]:
        found = dict.fromkeys((*self._groups, NGINX), 0.0)
        for group, containers in self._groups.items():
            for container in containers:
                for process in processes_of(container.process):
                    seconds = processor_seconds(process)
                    found[group] += seconds
                    if program(process) == NGINX:
                        found[NGINX] += seconds
        return found
