"""Documentation that all modules share that run the atoll command in the registry's container."""

from __future__ import annotations


class ModuleDocFragment:
    """The option for the container, and the requirements of its host."""

    DOCUMENTATION = r"""
options:
  container:
    description: Name of the registry's container on this host.
    type: str
    default: atoll-registry
requirements:
  - Python library podman on the host (package python3-podman)
attributes:
  check_mode:
    description: Can run in check mode, and report the changes without making them.
    support: full
author:
  - The Atoll authors (@atoll)
"""
