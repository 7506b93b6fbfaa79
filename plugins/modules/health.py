#!/usr/bin/python
"""Ansible module: wait until a registry is healthy."""

from __future__ import annotations

DOCUMENTATION = r"""
module: health
short_description: Wait until a registry is healthy
description:
  - Requests the health paths of a registry over TLS, each until its status is 200.
  - As in a load balancer, the connection goes to O(address), and the certificate is verified for
    O(hostname). No name resolution is required.
version_added: 0.1.0
options:
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
    description: Paths to request, one after the other.
    type: list
    elements: str
    default: [/health/instance, /health/endtoend]
  ca_file:
    description:
      - File on the host with the CA certificates to trust. By default, those of the system are
        trusted.
    type: path
  timeout:
    description: Seconds to wait for each path.
    type: int
    default: 60
  unit:
    description: Unit whose last log lines are returned if the task fails.
    type: str
attributes:
  check_mode:
    description: Can run in check mode, and report the changes without making them.
    support: full
    details: No request is made in check mode.
author:
  - The Atoll authors (@atoll)
"""

EXAMPLES = r"""
- name: Wait for the site to be healthy
  atoll.registry.health:
    address: 192.0.2.11
    hostname: registry.example.org
    ca_file: /etc/atoll/ca.crt
"""

RETURN = r"""
services:
  description: Whether each service is healthy, by name, from the last response.
  returned: when the registry responded
  type: dict
"""

import ssl
import time
from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.atoll.registry.plugins.module_utils.endpoint import (
    Unhealthy,
    request_health,
)
from ansible_collections.atoll.registry.plugins.module_utils.journal import last_lines


def wait(parameters: Mapping[str, Any], path: str, context: ssl.SSLContext) -> dict[str, Any]:
    """Request a path until it is healthy, and return its services.

    Raises:
        Unhealthy: The registry is still unhealthy after the timeout.
    """
    deadline = time.monotonic() + parameters["timeout"]
    while True:
        try:
            return request_health(parameters, path, context)
        except Unhealthy:
            if time.monotonic() >= deadline:
                raise
            time.sleep(1)


def main() -> None:
    """Wait for each path."""
    module = AnsibleModule(
        argument_spec={
            "address": {"type": "str", "required": True},
            "port": {"type": "int", "default": 443},
            "hostname": {"type": "str", "required": True},
            "paths": {
                "type": "list",
                "elements": "str",
                "default": ["/health/instance", "/health/endtoend"],
            },
            "ca_file": {"type": "path"},
            "timeout": {"type": "int", "default": 60},
            "unit": {"type": "str"},
        },
        supports_check_mode=True,
    )
    if module.check_mode:
        module.exit_json(changed=False)
    parameters = module.params
    context = ssl.create_default_context(cafile=parameters["ca_file"])
    services: dict[str, Any] = {}
    try:
        for path in parameters["paths"]:
            services = wait(parameters, path, context)
    except Unhealthy as error:
        module.fail_json(
            msg=f"https://{parameters['address']}:{parameters['port']}{path} did not become "
            f"healthy within {parameters['timeout']} seconds: {error}. "
            "The last lines of the log are in 'log'. Fix the cause and run the playbook again.",
            services=error.services,
            log=last_lines(module, parameters["unit"]) if parameters["unit"] else [],
        )
    module.exit_json(changed=False, services=services)


if __name__ == "__main__":
    main()
