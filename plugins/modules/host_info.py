#!/usr/bin/python
"""Ansible module: the status of one host of a registry."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_info
short_description: Gather the status of one host of the registry
description:
  - Returns the state of units, the image and the version of the registry, the checksum of its
    bundle, health and certificates as clients receive them, and the status that the registry
    reports for all sites.
  - Information that cannot be gathered is returned as a problem, and the task does not fail.
version_added: 0.1.0
requirements:
  - Python library podman on the host (package python3-podman)
options:
  units:
    description: Units that should be active on this host.
    type: list
    elements: str
    default: []
  endpoints:
    description: Addresses at which this host serves over TLS.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the endpoint in the result.
        type: str
        required: true
      address:
        description: Address to connect to.
        type: str
        required: true
      port:
        description: Port to connect to.
        type: int
        default: 443
      hostname:
        description: Name or IP address for which the certificate must be valid.
        type: str
        required: true
      paths:
        description: Health paths to request. If empty, only the certificate is read.
        type: list
        elements: str
        default: []
      ca_file:
        description:
          - File on the host with the CA certificates to trust. If empty, those of the system are
            trusted.
        type: path
  container:
    description: Name of the registry's container. Omit it on hosts without one.
    type: str
  bundle:
    description: File of the registry's bundle, whose checksum is returned.
    type: path
  max_lag:
    description:
      - Age in seconds from which a pending copy is a problem. By default, no age is a problem.
    type: int
attributes:
  check_mode:
    description: Can run in check mode, and report the changes without making them.
    support: full
    details: The module changes nothing.
author:
  - The Atoll authors (@atoll)
"""

EXAMPLES = r"""
- name: Gather the status of a site's host
  atoll.registry.host_info:
    units: [atoll-registry.service, atoll-replication.service]
    endpoints:
      - name: registry
        address: 192.0.2.11
        hostname: registry.example.org
        paths: [/health/instance, /health/endtoend]
    container: atoll-registry
    bundle: /etc/atoll/stack/config.yaml
"""

RETURN = r"""
units:
  description: The state of each unit, by name, as systemd reports it.
  returned: always
  type: dict
certificates:
  description: The certificate that each endpoint serves, in DER form and encoded with Base64.
  returned: always
  type: dict
image:
  description: The image of the running registry.
  returned: when it is known
  type: str
version:
  description: The version of the registry.
  returned: when it is known
  type: str
bundle:
  description: The SHA-256 checksum of the bundle.
  returned: when the file exists
  type: str
registry:
  description: The result of C(atoll status --json), about all sites.
  returned: when the command succeeds
  type: dict
problems:
  description: A sentence for each problem of this host.
  returned: always
  type: list
  elements: str
"""

import base64
import ssl
from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.atoll.registry.plugins.module_utils.endpoint import (
    Unhealthy,
    certificate,
    request_health,
)
from ansible_collections.atoll.registry.plugins.module_utils.podman_service import (
    PodmanUnavailable,
)
from ansible_collections.atoll.registry.plugins.module_utils.registry_command import (
    CommandError,
    image_of,
    read_atoll,
    run_atoll,
)


def unit_states(module: AnsibleModule) -> dict[str, str]:
    """Return the state of each unit, by name."""
    states = {}
    for unit in module.params["units"]:
        words = ["systemctl", "show", "--property=ActiveState", "--value", unit]
        _code, output, error = module.run_command(words)
        states[unit] = output.strip() or error.strip()
    return states


def check_endpoint(endpoint: Mapping[str, Any]) -> tuple[str | None, list[str]]:
    """Return the certificate of an endpoint, if it serves one, and the problems of the endpoint."""
    found: str | None = None
    problems: list[str] = []
    try:
        found = base64.b64encode(certificate(endpoint)).decode()
        context = ssl.create_default_context(cafile=endpoint["ca_file"] or None)
        for path in endpoint["paths"]:
            problems += _health_problems(endpoint, path, context)
    except (Unhealthy, OSError) as error:
        problems.append(f"{endpoint['name']}: {error}")
    return found, problems


def _health_problems(endpoint: Mapping[str, Any], path: str, context: ssl.SSLContext) -> list[str]:
    try:
        request_health(endpoint, path, context)
    except Unhealthy as error:
        return [f"{endpoint['name']}, {path}: {error}"]
    return []


def check_registry(module: AnsibleModule) -> tuple[dict[str, Any], list[str]]:
    """Return the image, the version and the status of the registry, and the problems with them."""
    container = module.params["container"]
    found: dict[str, Any] = {}
    problems: list[str] = []
    try:
        image = image_of(module, container)
        if image:
            found["image"] = image
        found["version"] = run_atoll(module, container, "--version").strip().removeprefix("atoll ")
        lag = module.params["max_lag"]
        words = [] if lag is None else ["--max-lag", str(lag)]
        # Exit status 1 means that the registry has problems.
        found["registry"] = read_atoll(module, container, "status", *words, accepted=(0, 1))
    except (CommandError, PodmanUnavailable) as error:
        problems.append(str(error))
    return found, problems


def gather(module: AnsibleModule) -> dict[str, Any]:
    """Return the status of the host."""
    states = unit_states(module)
    problems = [f"{unit} is {state}" for unit, state in states.items() if state != "active"]
    found: dict[str, Any] = {"units": states, "certificates": {}}
    for endpoint in module.params["endpoints"]:
        served, wrong = check_endpoint(endpoint)
        problems += wrong
        if served:
            found["certificates"][endpoint["name"]] = served
    if module.params["container"]:
        reported, wrong = check_registry(module)
        found |= reported
        problems += wrong
    if module.params["bundle"]:
        found["bundle"] = module.sha256(module.params["bundle"])
        if not found["bundle"]:
            del found["bundle"]
            problems.append(f"there is no bundle {module.params['bundle']}")
    return found | {"problems": problems}


def main() -> None:
    """Return the status of the host."""
    module = AnsibleModule(
        argument_spec={
            "units": {"type": "list", "elements": "str", "default": []},
            "endpoints": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "address": {"type": "str", "required": True},
                    "port": {"type": "int", "default": 443},
                    "hostname": {"type": "str", "required": True},
                    "paths": {"type": "list", "elements": "str", "default": []},
                    "ca_file": {"type": "path"},
                },
            },
            "container": {"type": "str"},
            "bundle": {"type": "path"},
            "max_lag": {"type": "int"},
        },
        supports_check_mode=True,
    )
    module.exit_json(changed=False, **gather(module))


if __name__ == "__main__":
    main()
