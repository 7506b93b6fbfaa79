#!/usr/bin/python
"""Ansible module: delete the objects of a removed location from its store."""

from __future__ import annotations

DOCUMENTATION = r"""
module: purge_store
short_description: Delete all objects of a removed location from its store
description:
  - Deletes all objects below the location's storage_path, and the parts of unfinished multipart
    uploads. The bucket is kept.
  - Refused while the location is in the database or in the bundle of a site, and if another
    location has the same bucket and path.
  - Runs the C(atoll) command in the registry's container, on a host that can reach the store.
version_added: 0.1.0
options:
  location:
    description: Name of the removed location.
    type: str
    required: true
  bundle:
    description:
      - The content of a config.yaml that contains the location. It is not written to a file.
    type: str
    required: true
  container:
    description: Name of the registry's container on this host.
    type: str
    default: atoll-registry
  limit:
    description: Maximum number of objects to delete. By default, all objects are deleted.
    type: int
attributes:
  check_mode:
    description: Can run in check mode, and report the changes without making them.
    support: full
    details: Counts the objects, even before the location is removed.
seealso:
  - module: atoll.registry.location
author:
  - The Atoll authors (@atoll)
"""

EXAMPLES = r"""
- name: Ensure the objects of eustorage are deleted
  atoll.registry.purge_store:
    location: eustorage
    bundle: "{{ registry_config | to_nice_yaml }}"
"""

RETURN = r"""
objects:
  description: Number of objects that were deleted, or exist in check mode.
  returned: always
  type: int
bytes:
  description: Total size of the objects.
  returned: always
  type: int
uploads:
  description: Number of unfinished multipart uploads that were aborted, if the store lists them.
  returned: always
  type: int
complete:
  description: Whether no object is left. False if O(limit) was reached.
  returned: always
  type: bool
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.atoll.registry.plugins.module_utils.registry_command import (
    CommandError,
    read_atoll,
)


def purge(module: AnsibleModule) -> dict[str, Any]:
    """Delete the objects, or count them in check mode, and return the report."""
    words = ["purge-store", module.params["location"], "--config", "-"]
    words += ["--dry-run"] if module.check_mode else ["--yes"]
    if module.params["limit"] is not None:
        words += ["--limit", str(module.params["limit"])]
    container, bundle = module.params["container"], module.params["bundle"]
    report = read_atoll(module, container, *words, given=bundle)
    return {key: report[key] for key in ("objects", "bytes", "uploads", "complete")}


def main() -> None:
    """Delete the objects of the location."""
    module = AnsibleModule(
        argument_spec={
            "location": {"type": "str", "required": True},
            "bundle": {"type": "str", "required": True, "no_log": True},
            "container": {"type": "str", "default": "atoll-registry"},
            "limit": {"type": "int"},
        },
        supports_check_mode=True,
    )
    try:
        found = purge(module)
    except CommandError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(found["objects"] or found["uploads"]), **found)


if __name__ == "__main__":
    main()
