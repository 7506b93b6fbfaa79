#!/usr/bin/python
"""Ansible module: gather information about the instances of the registry."""

from __future__ import annotations

DOCUMENTATION = r"""
module: instance_info
short_description: Gather the instances of all sites of the registry
description:
  - Instances on hosts and on clusters record their heartbeats in the database, so any host of a
    site reports those of all sites.
  - Runs the C(atoll) command in the registry's container, so no password is required.
version_added: 0.1.0
attributes:
  check_mode:
    details: The module changes nothing.
extends_documentation_fragment:
  - atoll.registry.registry_command
"""

EXAMPLES = r"""
- name: Gather the instances
  atoll.registry.instance_info:
  register: registry_instances

- name: Check that all running instances have the same bundle
  ansible.builtin.assert:
    that: >-
      registry_instances.instances | rejectattr('lost') | map(attribute='bundle') | unique
      | length == 1
"""

RETURN = r"""
version:
  description: Version of the registry on this host.
  returned: always
  type: str
instances:
  description:
    - The instances, each with its C(hostname), its C(role) (registry, replication, mirror or
      housekeeping), its C(version), the locations of its site (C(preference), nearest first), the
      fingerprint of its C(bundle), and the health of the C(stores) by location.
    - An instance is C(lost) if it stopped without notice, or cannot connect to the database.
  returned: always
  type: list
  elements: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.atoll.registry.plugins.module_utils.registry_command import (
    CommandError,
    read_atoll,
    run_atoll,
)


def read_instances(module: AnsibleModule) -> dict[str, Any]:
    """Return the version of the host's registry, and the instances of all sites."""
    container = module.params["container"]
    version = run_atoll(module, container, "--version").strip().removeprefix("atoll ")
    # Exit status 1 means that the registry has problems.
    status = read_atoll(module, container, "status", accepted=(0, 1))
    return {"version": version, "instances": status["instances"]}


def main() -> None:
    """Return all instances."""
    module = AnsibleModule(
        argument_spec={"container": {"type": "str", "default": "atoll-registry"}},
        supports_check_mode=True,
    )
    try:
        found = read_instances(module)
    except CommandError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
