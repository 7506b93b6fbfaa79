"""All checks of the controller."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.bundle import (
    configuration_problems,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.certificates import (
    certificate_problems,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.clusters import (
    cluster_problems,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.files import (
    file_problems,
    image_problems,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.inventory import Inventory
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.mirrors import (
    mirror_problems,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.ports import port_problems
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.problems import (
    CONTROLLER,
    Problem,
    problem,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.scanner import (
    scanner_problems,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.topology import (
    topology_problems,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.values import (
    consistency_problems,
    placeholder_problems,
    secret_problems,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.variables import (
    undefined_problems,
    variable_problems,
)

# The errors in templates come last, because the other checks evaluate the variables.
_CHECKS: tuple[Callable[[Inventory], Iterator[Problem]], ...] = (
    topology_problems,
    cluster_problems,
    variable_problems,
    port_problems,
    image_problems,
    file_problems,
    certificate_problems,
    placeholder_problems,
    secret_problems,
    consistency_problems,
    configuration_problems,
    mirror_problems,
    scanner_problems,
    undefined_problems,
)


def controller_problems(inventory: Inventory) -> list[Problem]:
    """Return the problems that all checks of the controller find.

    A check that raises an error becomes a problem, so that the others are reported too.
    """
    found: list[Problem] = []
    for check in _CHECKS:
        try:
            found += check(inventory)
        except Exception as error:
            found.append(
                problem(
                    "check-failed",
                    CONTROLLER,
                    f"The check {check.__name__} failed: {' '.join(str(error).split())}",
                    "Report it as a bug, unless the message names a remedy.",
                )
            )
    return found
