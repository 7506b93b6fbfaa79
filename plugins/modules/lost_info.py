#!/usr/bin/python
"""Ansible module: list the blobs that are lost with a location or were lost earlier."""

from __future__ import annotations

DOCUMENTATION = r"""
module: lost_info
short_description: List blobs and images of the registry that are lost with a location
description:
  - Lists the blobs and images that would be lost if the store of a location is permanently lost.
  - Without O(location), lists those that were lost with removed locations, are still required, and
    were not pushed again.
  - Runs the C(atoll) command in the registry's container, so no password is required. The stores
    are not used.
version_added: 0.1.0
options:
  location:
    description: Name of the location whose store may be lost.
    type: str
attributes:
  check_mode:
    details: The module changes nothing.
seealso:
  - module: atoll.registry.location
extends_documentation_fragment:
  - atoll.registry.registry_command
"""

EXAMPLES = r"""
- name: List the blobs with their sole copy at eustorage
  atoll.registry.lost_info:
    location: eustorage
  register: registry_loss

- name: Show their number
  ansible.builtin.debug:
    msg: "{{ registry_loss.blobs }} blobs, {{ registry_loss.lost_images | length }} manifests"

- name: List the blobs that were lost with removed locations
  atoll.registry.lost_info:
"""

RETURN = r"""
blobs:
  description: Number of blobs.
  returned: always
  type: int
bytes:
  description: Total size of the blobs.
  returned: always
  type: int
uploads:
  description: Number of uploads in progress with data at the location.
  returned: always
  type: int
repositories:
  description: The repositories that use one of the blobs.
  returned: always
  type: list
  elements: str
lost_blobs:
  description: The blobs, each with its C(digest), its size in C(bytes) and its C(repositories).
  returned: always
  type: list
  elements: dict
lost_images:
  description:
    - The manifests that require one of the blobs, each with its C(repository), C(digest) and
      C(tags).
  returned: always
  type: list
  elements: dict
tags:
  description: Number of tags of these manifests.
  returned: always
  type: int
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.atoll.registry.plugins.module_utils.registry_command import (
    CommandError,
    read_atoll,
)

KEYS = ("blobs", "bytes", "uploads", "repositories", "lost_blobs", "lost_images")


def read_loss(module: AnsibleModule) -> dict[str, Any]:
    """Return the loss that the registry reports. Raises CommandError."""
    location = module.params["location"]
    words = ["remove-location", location, "--lost", "--dry-run"] if location else ["lost"]
    report = read_atoll(module, module.params["container"], *words)
    found = {key: report[key] for key in KEYS}
    return found | {"tags": sum(len(image["tags"]) for image in found["lost_images"])}


def main() -> None:
    """Return the loss."""
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
