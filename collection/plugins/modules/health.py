#!/usr/bin/python
"""Ansible module: wait until a registry says that it is healthy."""

from __future__ import annotations

DOCUMENTATION = r"""
module: health
short_description: Wait until a registry says that it is healthy
description:
  - Asks the health paths of a registry over TLS, each until its answer is 200.
  - The connection goes to O(address), the certificate is verified for O(hostname), as a load
    balancer does it. No name needs to be resolved.
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
    description: Name, or IP address, that the certificate must be valid for.
    type: str
    required: true
  paths:
    description: Paths to ask, one after the other.
    type: list
    elements: str
    default: [/health/instance, /health/endtoend]
  ca_file:
    description: File on the host with the authorities to trust. Without it, those of the system.
    type: path
  timeout:
    description: Seconds until the task gives up on a path.
    type: int
    default: 60
  unit:
    description: Unit whose last log lines are shown when the task gives up.
    type: str
attributes:
  check_mode:
    description: Tells what it would change, and changes nothing.
    support: full
    details: Nothing is asked in check mode.
author:
  - The Atoll authors (@atoll)
"""

EXAMPLES = r"""
- name: Wait until the site is whole
  atoll.registry.health:
    address: 192.0.2.11
    hostname: registry.example.org
    ca_file: /etc/atoll/ca.crt
"""

RETURN = r"""
services:
  description: Each service of the last answer, and whether it is well.
  returned: when the registry answered
  type: dict
"""

import ssl
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.atoll.registry.plugins.module_utils.endpoint import Unwell, ask
from ansible_collections.atoll.registry.plugins.module_utils.journal import last_lines


def wait(parameters, path, context):
    """Ask until the answer is good or the time is over."""
    deadline = time.monotonic() + parameters["timeout"]
    while True:
        try:
            return ask(parameters, path, context)
        except Unwell:
            if time.monotonic() >= deadline:
                raise
            time.sleep(1)


def main():
    """Wait for each path, or say why the waiting was in vain."""
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
    services = {}
    try:
        for path in parameters["paths"]:
            services = wait(parameters, path, context)
    except Unwell as error:
        module.fail_json(
            msg=f"https://{parameters['address']}:{parameters['port']}{path} did not become "
            f"healthy within {parameters['timeout']} seconds: {error}. "
            "The last lines of the log are in 'log'. Mend the cause and run the playbook again; "
            "the hosts after this one were not touched.",
            services=error.services,
            log=last_lines(module, parameters["unit"]) if parameters["unit"] else [],
        )
    module.exit_json(changed=False, services=services)


if __name__ == "__main__":
    main()
