"""Create the files of an inventory from answers, and ask for missing answers on a terminal."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.parsing.vault import VaultLib, get_file_vault_secret, is_encrypted
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.atoll.registry.plugins.plugin_utils.answer_parser import parse_answers
from ansible_collections.atoll.registry.plugins.plugin_utils.answers import InvalidAnswers
from ansible_collections.atoll.registry.plugins.plugin_utils.inventory_files import (
    Inventory,
    InventoryConflict,
    Vault,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.questions import (
    Interrupted,
    ask_missing,
)

display = Display()


class ActionModule(ActionBase):
    """Create the inventory on the controller."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> Any:
        """Validate the answers, and create the missing files."""
        result = super().run(tmp, task_vars)
        _valid, arguments = self.validate_argument_spec(
            {
                "answers": {"type": "dict", "required": True, "no_log": False},
                "working_directory": {"type": "path"},
                "vault_password_file": {"type": "path"},
            }
        )
        base = Path(arguments["working_directory"] or os.getcwd())
        try:
            given = ask_missing(_plain(arguments["answers"]), display)
            answers = parse_answers(given, base)
            vault = self._vault(base, arguments["vault_password_file"])
            templates = Path(self._find_needle("templates", "inventory"))
            inventory = Inventory(answers, templates, vault)
            files = inventory.missing_files()
            if not self._task.check_mode:
                inventory.write(files)
        except (InvalidAnswers, InventoryConflict) as error:
            return result | {"failed": True, "msg": str(error), "problems": error.problems}
        except (Interrupted, OSError) as error:
            return result | {"failed": True, "msg": str(error)}
        return result | {
            "changed": bool(files),
            "directory": str(answers.directory),
            "files": sorted(file.path for file in files),
            "encrypted": vault.encrypt is not None,
            "hostname": answers.hostname,
            "superuser": answers.superuser,
        }

    def _vault(self, base: Path, password_file: str | None) -> Vault:
        library = self._loader._vault
        if password_file:
            path = (base / Path(password_file).expanduser()).resolve()
            try:
                secret = get_file_vault_secret(
                    filename=str(path), vault_id="default", loader=self._loader
                )
                secret.load()
            except AnsibleError as error:
                raise InvalidAnswers([f"atoll_vault_password_file: {error}"]) from error
            library = VaultLib([("default", secret)])

        def decrypt(content: bytes) -> bytes:
            if not is_encrypted(content):
                return content
            try:
                return bytes(library.decrypt(content))
            except AnsibleError as error:
                raise ValueError(str(error)) from error

        return Vault(library.encrypt if library.secrets else None, decrypt)


def _plain(value: Any) -> Any:
    """Convert Ansible's tagged values to plain types."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, bool) or value is None:
        return value
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value
