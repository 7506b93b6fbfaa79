#!/usr/bin/python
"""Ansible module: delete the objects of a location that is gone from its store."""

from __future__ import annotations

DOCUMENTATION = r"""
module: purge_store
short_description: Delete all objects of a location that is gone from its store
description:
  - Deletes all that is below the location's storage_path, and the parts of objects that were never
    finished. The bucket itself stays.
  - Refused while the registry still knows the location, while a site has it in its bundle, and
    where another location has the same bucket and path.
  - Runs the registry's own command in its container, on a host that reaches the store.
version_added: 0.1.0
options:
  location:
    description: Name of the location that is gone.
    type: str
    required: true
  bundle:
    description:
      - The text of a config.yaml that still knows the location's store. It is not written anywhere.
    type: str
    required: true
  container:
    description: Name of the registry's container on this host.
    type: str
    default: atoll-registry
  limit:
    description: Delete at most so many objects. Without it, all.
    type: int
attributes:
  check_mode:
    description: Tells what it would change, and changes nothing.
    support: full
    details: Counts the objects, also while the registry still knows the location.
seealso:
  - module: atoll.registry.location
author:
  - The Atoll authors (@atoll)
"""

EXAMPLES = r"""
- name: Empty what was eustorage
  atoll.registry.purge_store:
    location: eustorage
    bundle: "{{ registry_config | to_nice_yaml }}"
"""

RETURN = r"""
objects:
  description: Number of objects that were deleted; in check mode, that are there.
  returned: always
  type: int
bytes:
  description: Their size.
  returned: always
  type: int
uploads:
  description: Number of unfinished objects whose parts were thrown away, where the store can tell.
  returned: always
  type: int
complete:
  description: Whether nothing is left; not so if O(limit) stopped it.
  returned: always
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.atoll.registry.plugins.module_utils.registry_command import (
    CommandError,
    read_atoll,
)


def purge(module):
    """Delete, or in check mode count; return what the registry says of it."""
    words = ["purge-store", module.params["location"], "--config", "-"]
    words += ["--dry-run"] if module.check_mode else ["--yes"]
    if module.params["limit"] is not None:
        words += ["--limit", str(module.params["limit"])]
    container, bundle = module.params["container"], module.params["bundle"]
    report = read_atoll(module, container, *words, given=bundle)
    return {key: report[key] for key in ("objects", "bytes", "uploads", "complete")}


def main():
    """Empty the store."""
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
