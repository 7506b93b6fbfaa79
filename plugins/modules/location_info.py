#!/usr/bin/python
"""Ansible module: gather information about the locations of the registry."""

from __future__ import annotations

DOCUMENTATION = r"""
module: location_info
short_description: Gather the states, usage and replication lag of the locations of the registry
description:
  - Runs the C(atoll) command in the registry's container, so no password is required.
version_added: 0.1.0
attributes:
  check_mode:
    details: The module changes nothing.
extends_documentation_fragment:
  - atoll.registry.registry_command
"""

EXAMPLES = r"""
- name: Gather information about the locations
  atoll.registry.location_info:
  register: registry_locations

- name: Show the number of sole copies at eustorage
  ansible.builtin.debug:
    msg: "{{ registry_locations.locations.eustorage.only_there }} blobs"

- name: Check that no copy to eustorage has been pending for more than an hour
  ansible.builtin.assert:
    that: registry_locations.locations.eustorage.lag.oldest_seconds < 3600
"""

RETURN = r"""
locations:
  description:
    - The locations by name, each with its C(state), the number of its blobs (C(placed_blobs)), of
      its missing blobs (C(missing_blobs)), of its sole copies (C(only_there),
      C(only_there_bytes)), and of uploads in progress with data there (C(open_uploads)).
    - C(lag) describes the pending copies to the location with C(pending_blobs), C(pending_bytes),
      C(failing_blobs) and C(oldest_seconds), the age of the oldest.
  returned: always
  type: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.atoll.registry.plugins.module_utils.registry_command import (
    CommandError,
    read_atoll,
)

LAG = ("pending_blobs", "pending_bytes", "failing_blobs", "oldest_seconds")


def read_locations(module: AnsibleModule) -> dict[str, dict[str, Any]]:
    """Return all locations by name, with their lag."""
    container = module.params["container"]
    # Exit status 1 means that the registry has problems.
    status = read_atoll(module, container, "status", accepted=(0, 1))
    lag = {row["location"]: {key: row[key] for key in LAG} for row in status["locations"]}
    rows = read_atoll(module, container, "locations")
    return {row["location"]: row | {"lag": lag.get(row["location"])} for row in rows}


def main() -> None:
    """Return all locations."""
    module = AnsibleModule(
        argument_spec={"container": {"type": "str", "default": "atoll-registry"}},
        supports_check_mode=True,
    )
    try:
        locations = read_locations(module)
    except CommandError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, locations=locations)


if __name__ == "__main__":
    main()
