#!/usr/bin/python
"""Ansible module: what is lost with a location, or was lost with those that are gone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: lost_info
short_description: List the blobs and images of the registry that have no good copy but at one place
description:
  - Lists exactly what would be lost with a location whose store will never come back; without
    O(location), what was lost with locations that are gone, is needed, and was not pushed again.
  - Runs the registry's own command in its container, so it needs no password. No store is asked.
version_added: 0.1.0
options:
  location:
    description: Name of the location that may have to be given up.
    type: str
attributes:
  check_mode:
    details: Nothing is changed in any mode.
seealso:
  - module: atoll.registry.location
extends_documentation_fragment:
  - atoll.registry.registry_command
"""

EXAMPLES = r"""
- name: List what is only in eustorage
  atoll.registry.lost_info:
    location: eustorage
  register: registry_loss

- name: Say how much that is
  ansible.builtin.debug:
    msg: "{{ registry_loss.blobs }} blobs, {{ registry_loss.lost_images | length }} manifests"

- name: List what was lost with locations that are gone, and was not pushed again
  atoll.registry.lost_info:
"""

RETURN = r"""
blobs:
  description: Number of blobs.
  returned: always
  type: int
bytes:
  description: Their size.
  returned: always
  type: int
uploads:
  description: Number of uploads that are under way and have bytes there.
  returned: always
  type: int
repositories:
  description: Each repository that uses one of the blobs.
  returned: always
  type: list
  elements: str
lost_blobs:
  description: Each blob with its C(digest), C(bytes) and the C(repositories) that use it.
  returned: always
  type: list
  elements: dict
lost_images:
  description:
    - Each manifest that needs one of them, with its C(repository), C(digest) and C(tags).
  returned: always
  type: list
  elements: dict
tags:
  description: Number of tags that mean one of these manifests.
  returned: always
  type: int
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.atoll.registry.plugins.module_utils.registry_command import (
    CommandError,
    read_atoll,
)

KEYS = ("blobs", "bytes", "uploads", "repositories", "lost_blobs", "lost_images")


def read_loss(module):
    """Return what is lost, as the registry says it. Raises CommandError."""
    location = module.params["location"]
    words = ["remove-location", location, "--lost", "--dry-run"] if location else ["lost"]
    report = read_atoll(module, module.params["container"], *words)
    found = {key: report[key] for key in KEYS}
    return found | {"tags": sum(len(image["tags"]) for image in found["lost_images"])}


def main():
    """Answer with what is lost."""
    module = AnsibleModule(
        argument_spec={
            "location": {"type": "str"},
            "container": {"type": "str", "default": "atoll-registry"},
        },
        supports_check_mode=True,
    )
    try:
        found = read_loss(module)
    except CommandError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
