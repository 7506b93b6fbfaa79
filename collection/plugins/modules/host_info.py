#!/usr/bin/python
"""Ansible module: how one host of a registry is."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_info
short_description: Tell how one host of the registry is
description:
  - Looks at units, at the image and the version of the registry, at its bundle's checksum, at
    health and certificates as clients get them, and asks the registry how everything is.
  - What cannot be found out is told as a problem; the task does not fail for it.
version_added: 0.1.0
requirements:
  - Python library podman, on the host (Debian's python3-podman)
options:
  units:
    description: Units that are to run on this host.
    type: list
    elements: str
    default: []
  endpoints:
    description: Where this host serves over TLS.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: What it is called in the answer.
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
        description: Name, or IP address, that the certificate must be valid for.
        type: str
        required: true
      paths:
        description: Health paths to ask; with none, only the certificate is read.
        type: list
        elements: str
        default: []
      ca_file:
        description: File on the host with the authorities to trust; if empty, those of the system.
        type: path
  container:
    description: Name of the registry's container. Leave it out on hosts without one.
    type: str
  bundle:
    description: File of the registry's bundle, of which the checksum is told.
    type: path
  max_lag:
    description: Seconds that a copy may be due until it is a problem. Without it, any.
    type: int
attributes:
  check_mode:
    description: Tells what it would change, and changes nothing.
    support: full
    details: Nothing is changed in any mode.
author:
  - The Atoll authors (@atoll)
"""

EXAMPLES = r"""
- name: Look at a site's host
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
  description: Each unit's state, as systemd calls it.
  returned: always
  type: dict
certificates:
  description: The certificate that each endpoint serves, in DER form, encoded with Base64.
  returned: always
  type: dict
image:
  description: The image that the registry runs with.
  returned: when it is known
  type: str
version:
  description: The registry's version.
  returned: when it is known
  type: str
bundle:
  description: The SHA-256 of the bundle's file.
  returned: when there is one
  type: str
registry:
  description: What C(atoll status --json) says, about all sites.
  returned: when it answers
  type: dict
problems:
  description: A sentence for each thing that is not as it should be on this host.
  returned: always
  type: list
  elements: str
"""

import base64
import ssl

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.atoll.registry.plugins.module_utils.endpoint import (
    Unwell,
    ask,
    certificate,
)
from ansible_collections.atoll.registry.plugins.module_utils.registry_command import (
    CommandError,
    read_atoll,
    run_atoll,
)


def unit_states(module):
    """Return the state of each unit that is to run."""
    states = {}
    for unit in module.params["units"]:
        words = ["systemctl", "show", "--property=ActiveState", "--value", unit]
        _code, output, error = module.run_command(words)
        states[unit] = output.strip() or error.strip()
    return states


def look_at_endpoint(endpoint):
    """Return the certificate of an endpoint, if it has one, and what is wrong with it."""
    found, problems = None, []
    try:
        found = base64.b64encode(certificate(endpoint)).decode()
        context = ssl.create_default_context(cafile=endpoint["ca_file"] or None)
        for path in endpoint["paths"]:
            problems += _health_problems(endpoint, path, context)
    except (Unwell, OSError) as error:
        problems.append(f"{endpoint['name']}: {error}")
    return found, problems


def _health_problems(endpoint, path, context):
    try:
        ask(endpoint, path, context)
    except Unwell as error:
        return [f"{endpoint['name']}, {path}: {error}"]
    return []


def look_at_registry(module):
    """Return what the registry's container tells, and what is wrong with that."""
    container = module.params["container"]
    found, problems = {}, []
    _code, image, _error = module.run_command(
        ["podman", "inspect", "--format", "{{.ImageName}}", container]
    )
    if image.strip():
        found["image"] = image.strip()
    try:
        found["version"] = run_atoll(module, container, "--version").strip().removeprefix("atoll ")
        lag = module.params["max_lag"]
        words = [] if lag is None else ["--max-lag", str(lag)]
        # It ends with 1 where somebody should look.
        found["registry"] = read_atoll(module, container, "status", *words, accepted=(0, 1))
    except CommandError as error:
        problems.append(str(error))
    return found, problems


def look(module):
    """Return all that is to be told."""
    states = unit_states(module)
    problems = [f"{unit} is {state}" for unit, state in states.items() if state != "active"]
    found = {"units": states, "certificates": {}}
    for endpoint in module.params["endpoints"]:
        served, wrong = look_at_endpoint(endpoint)
        problems += wrong
        if served:
            found["certificates"][endpoint["name"]] = served
    if module.params["container"]:
        told, wrong = look_at_registry(module)
        found |= told
        problems += wrong
    if module.params["bundle"]:
        found["bundle"] = module.sha256(module.params["bundle"])
        if not found["bundle"]:
            del found["bundle"]
            problems.append(f"there is no {module.params['bundle']}")
    return found | {"problems": problems}


def main():
    """Answer with how the host is."""
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
    module.exit_json(changed=False, **look(module))


if __name__ == "__main__":
    main()
