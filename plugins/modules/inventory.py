#!/usr/bin/python
"""Ansible module: create an inventory for the registry."""

from __future__ import annotations

DOCUMENTATION = r"""
module: inventory
short_description: Create an inventory for the registry
description:
  - Creates the complete inventory directory of a registry from a few answers, with generated
    secrets and with certificates of a private CA.
  - Existing files are never overwritten. With the same answers nothing is changed, except that
    missing files are created. With other answers the task fails, and names the differing files.
  - Files with secrets and private keys have mode 0600. They are encrypted if a vault password is
    configured.
  - Missing answers are asked for on a terminal. All invalid answers are reported at once.
  - Runs on the controller.
version_added: 0.1.0
options:
  answers:
    description:
      - The answers by the names of their variables, as described in C(playbooks/init.yml).
    type: dict
    required: true
  working_directory:
    description:
      - Directory that relative paths refer to. By default, the current directory of Ansible.
    type: path
  vault_password_file:
    description:
      - File with the password of Ansible Vault. By default, the vault password that Ansible runs
        with, if any.
    type: path
attributes:
  check_mode:
    description: Can run in check mode, and report the changes without making them.
    support: full
author:
  - The Atoll authors (@atoll)
"""

EXAMPLES = r"""
- name: Ensure the inventory is present
  atoll.registry.inventory:
    answers:
      atoll_inventory: inventories/production
      atoll_hostname: registry.example.org
      atoll_images: .cache/images
      atoll_shared_host: {shared-1: 192.0.2.10}
      atoll_regions:
        - name: us
          hosts: {us-1: 192.0.2.11}
          load_balancers: {lb-us: 192.0.2.20}
          store:
            kind: s3
            bucket: atoll-us
            region: us-east-1
            access_key: "{{ vault_access_key }}"
            secret_key: "{{ vault_secret_key }}"
"""

RETURN = r"""
directory:
  description: Absolute path of the inventory.
  returned: success
  type: str
files:
  description: Created files, relative to the directory.
  returned: success
  type: list
  elements: str
encrypted:
  description: Whether created files with secrets are encrypted.
  returned: success
  type: bool
hostname:
  description: Host name of the registry.
  returned: success
  type: str
superuser:
  description: Name of the superuser.
  returned: success
  type: str
problems:
  description: A sentence for each invalid answer or differing file.
  returned: if answers are invalid or existing files differ
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    """Fail, because the action plugin of this name does not run the module."""
    module = AnsibleModule(
        argument_spec={
            "answers": {"type": "dict", "required": True},
            "working_directory": {"type": "path"},
            "vault_password_file": {"type": "path", "no_log": False},
        },
        supports_check_mode=True,
    )
    module.fail_json(msg="This module runs only on the controller, as an action plugin.")


if __name__ == "__main__":
    main()
