"""What every module says that runs the registry's own commands in its container."""

from __future__ import annotations


class ModuleDocFragment:
    """The option for the container, and what its host needs."""

    DOCUMENTATION = r"""
options:
  container:
    description: Name of the registry's container on this host.
    type: str
    default: atoll-registry
requirements:
  - Python library podman, on the host (Debian's python3-podman)
attributes:
  check_mode:
    description: Tells what it would change, and changes nothing.
    support: full
author:
  - The Atoll authors (@atoll)
"""
