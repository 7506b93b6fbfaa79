#!/usr/bin/python
"""Ansible module: the schema of the registry's database."""

from __future__ import annotations

DOCUMENTATION = r"""
module: schema
short_description: Bring the registry's database to the version that runs in a container
description:
  - Adds what that version needs and, once no other version runs anywhere, takes away what only
    earlier ones need. Until then that waits, which is no failure.
  - Runs the registry's own command in its container, so it needs no password. Waits for whoever
    migrates at the same time.
version_added: 0.1.0
attributes:
  diff_mode:
    description: Shows what differs.
    support: none
extends_documentation_fragment:
  - atoll.registry.registry_command
"""

EXAMPLES = r"""
- name: Take away what only earlier versions need, after an upgrade
  atoll.registry.schema:
  register: registry_schema

- name: Say who keeps that from being done
  ansible.builtin.debug:
    msg: "{{ registry_schema.contractions }} wait for {{ registry_schema.others }}"
  when: registry_schema.contractions | length > 0
"""

RETURN = r"""
applied:
  description: Migrations that were applied; in check mode, that would be.
  returned: always
  type: list
  elements: str
contractions:
  description: Migrations that take something away and wait.
  returned: always
  type: list
  elements: str
others:
  description:
    - Those they wait for. The versions that run elsewhere or are missed, by their hosts' names.
  returned: always
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.atoll.registry.plugins.module_utils.registry_command import (
    CommandError,
    read_atoll,
)


def migrate(module):
    """Migrate, or in check mode look; return what the registry says of it."""
    words = ["migrate", "--dry-run"] if module.check_mode else ["migrate"]
    report = read_atoll(module, module.params["container"], *words)
    found = {key: report[key] for key in ("applied", "contractions", "others")}
    return found | {"changed": bool(found["applied"])}


def main():
    """Migrate."""
    module = AnsibleModule(
        argument_spec={"container": {"type": "str", "default": "atoll-registry"}},
        supports_check_mode=True,
    )
    try:
        result = migrate(module)
    except CommandError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
