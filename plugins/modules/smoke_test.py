#!/usr/bin/python
"""Ansible module: use the registry as its clients do."""

from __future__ import annotations

DOCUMENTATION = r"""
module: smoke_test
short_description: Use the registry as its clients do
description:
  - Logs in, pushes a small image, waits until it is complete at all required locations, and pulls
    it through each endpoint.
  - Runs the C(atoll) command in a container in the network of this host, with the image and the
    bundle of the registry's container. It uses a temporary user, and deletes the user with the
    image afterwards. The task is never changed.
  - Skipped if the image of the registry is older than this module.
version_added: 0.1.0
options:
  endpoints:
    description:
      - Load balancers and hosts to pull through, as C(ADDRESS:PORT). The first one is pushed to.
    type: list
    elements: str
    required: true
  ca_file:
    description:
      - File on the host with the CA certificates of the registry's certificate, in addition to
        those of the bundle and of the image.
    type: path
  timeout:
    description: Seconds after which the task fails if the image is not replicated.
    type: int
    default: 120
  container:
    description: Name of the registry's container on this host.
    type: str
    default: atoll-registry
attributes:
  check_mode:
    description: Can run in check mode, and report the changes without making them.
    support: full
    details: Skipped in check mode.
author:
  - The Atoll authors (@atoll)
"""

EXAMPLES = r"""
- name: Push an image and pull it through both load balancers
  atoll.registry.smoke_test:
    endpoints: ["192.0.2.20:443", "198.51.100.20:443"]
    ca_file: /etc/atoll/registry-ca.crt
"""

RETURN = r"""
version:
  description: Version of the registry.
  returned: success
  type: str
hostname:
  description: Host name of the registry.
  returned: success
  type: str
endpoints:
  description: Addresses that the image was pulled through.
  returned: success
  type: list
  elements: str
locations:
  description: Locations at which the image was complete.
  returned: success
  type: list
  elements: str
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.atoll.registry.plugins.module_utils.registry_command import (
    CommandError,
    read_atoll_from_host,
)


def run_smoke_test(module: AnsibleModule) -> dict[str, Any]:
    """Run the command and return its result.

    Raises:
        CommandError: A step failed.
    """
    parameters = module.params
    words = [f"--endpoint={endpoint}" for endpoint in parameters["endpoints"]]
    words += [f"--timeout={parameters['timeout']}", "--ca-stdin"]
    given = "\n"
    if parameters["ca_file"]:
        given = Path(parameters["ca_file"]).read_text(encoding="utf-8")
    try:
        found: dict[str, Any] = read_atoll_from_host(
            module, parameters["container"], "smoke-test", *words, given=given
        )
    except CommandError as error:
        if "No such command" in str(error):
            return {"skipped": True, "msg": "The image of the registry has no smoke test."}
        raise
    return found


def main() -> None:
    """Run the smoke test."""
    module = AnsibleModule(
        argument_spec={
            "endpoints": {"type": "list", "elements": "str", "required": True},
            "ca_file": {"type": "path"},
            "timeout": {"type": "int", "default": 120},
            "container": {"type": "str", "default": "atoll-registry"},
        },
        supports_check_mode=True,
    )
    if module.check_mode:
        module.exit_json(changed=False, skipped=True, msg="Skipped in check mode.")
    try:
        result = run_smoke_test(module)
    except (CommandError, OSError) as error:
        module.fail_json(
            msg=f"The registry is deployed, but the smoke test failed: {error}. Set"
            " atoll_smoke_test=false to skip the test, for example while a store is unavailable."
        )
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
