#!/usr/bin/python
"""Ansible module: migrate the schema of the registry's database."""

from __future__ import annotations

DOCUMENTATION = r"""
module: schema
short_description: Migrate the registry's database to the version of a container
description:
  - Applies the migrations of the version in the container. Contractions, which remove parts of the
    schema that only earlier versions require, are deferred while other versions are running; the
    task does not fail then.
  - Runs the C(atoll) command in the registry's container, so no password is required. Concurrent
    migrations wait for each other.
version_added: 0.1.0
attributes:
  diff_mode:
    description: Returns no differences.
    support: none
extends_documentation_fragment:
  - atoll.registry.registry_command
"""

EXAMPLES = r"""
- name: Ensure the database is migrated after an upgrade
  atoll.registry.schema:
  register: registry_schema

- name: Show the instances that defer contractions
  ansible.builtin.debug:
    msg: "{{ registry_schema.contractions }} wait for {{ registry_schema.others }}"
  when: registry_schema.contractions | length > 0
"""

RETURN = r"""
applied:
  description: Migrations that were applied, or would be applied in check mode.
  returned: always
  type: list
  elements: str
contractions:
  description: Contractions that are deferred.
  returned: always
  type: list
  elements: str
others:
  description:
    - The versions of the running or lost instances for which contractions are deferred, by host
      name.
  returned: always
  type: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.atoll.registry.plugins.module_utils.registry_command import (
    CommandError,
    read_atoll,
)


def migrate(module: AnsibleModule) -> dict[str, Any]:
    """Migrate the database, except in check mode, and return the result of the module."""
    words = ["migrate", "--dry-run"] if module.check_mode else ["migrate"]
    report = read_atoll(module, module.params["container"], *words)
    found = {key: report[key] for key in ("applied", "contractions", "others")}
    return found | {"changed": bool(found["applied"])}


def main() -> None:
    """Migrate the database."""
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
