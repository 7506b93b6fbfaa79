#!/usr/bin/python
"""Ansible module: what a registry's locations are and hold."""

from __future__ import annotations

DOCUMENTATION = r"""
module: location_info
short_description: Tell the locations of the registry, their states and lag, and what only they have
description:
  - Runs the registry's own commands in its container, so it needs no password.
version_added: 0.1.0
attributes:
  check_mode:
    details: Nothing is changed in any mode.
extends_documentation_fragment:
  - atoll.registry.registry_command
"""

EXAMPLES = r"""
- name: Look at the locations
  atoll.registry.location_info:
  register: registry_locations

- name: Say what is only in eustorage
  ansible.builtin.debug:
    msg: "{{ registry_locations.locations.eustorage.only_there }} blobs"

- name: Fail if something has waited for more than an hour to be copied to eustorage
  ansible.builtin.assert:
    that: registry_locations.locations.eustorage.lag.oldest_seconds < 3600
"""

RETURN = r"""
locations:
  description:
    - Each location by its name, with its C(state), the number of blobs that are there
      (C(placed_blobs)), that must be there and are not (C(missing_blobs)), that are nowhere else
      (C(only_there), C(only_there_bytes)), and of uploads that have bytes there (C(open_uploads)).
    - Its C(lag) is what waits to be copied there, as C(pending_blobs), C(pending_bytes),
      C(failing_blobs) and C(oldest_seconds), which is how long the oldest of them has waited.
  returned: always
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.atoll.registry.plugins.module_utils.registry_command import (
    CommandError,
    read_atoll,
)

LAG = ("pending_blobs", "pending_bytes", "failing_blobs", "oldest_seconds")


def look(module):
    """Return every location by its name, with its lag."""
    container = module.params["container"]
    # It ends with 1 where somebody should look.
    status = read_atoll(module, container, "status", accepted=(0, 1))
    lag = {row["location"]: {key: row[key] for key in LAG} for row in status["locations"]}
    rows = read_atoll(module, container, "locations")
    return {row["location"]: row | {"lag": lag.get(row["location"])} for row in rows}


def main():
    """Answer with every location."""
    module = AnsibleModule(
        argument_spec={"container": {"type": "str", "default": "atoll-registry"}},
        supports_check_mode=True,
    )
    try:
        locations = look(module)
    except CommandError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, locations=locations)


if __name__ == "__main__":
    main()
