#!/usr/bin/python
"""Ansible module: manage all files of a component in one task."""

from __future__ import annotations

DOCUMENTATION = r"""
module: files
short_description: Manage all files of a component in one task
description:
  - Creates directories, writes files and removes obsolete files, in one round trip to the host.
  - A file is replaced atomically, and only if its content differs. Therefore its modification time
    shows M(atoll.registry.service) whether a service has read it.
  - A secret is at no time readable by other users, and never shown, not even with C(--diff).
version_added: 0.1.0
options:
  directories:
    description: Directories to create. A parent must precede its children.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Path of the directory.
        type: path
        required: true
      owner:
        description: Name or number of the owner.
        type: str
        default: root
      group:
        description: Name or number of the group.
        type: str
        default: root
      mode:
        description: Permissions in octal notation.
        type: str
        default: "0755"
  files:
    description: Files to write.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Path of the file.
        type: path
        required: true
      content:
        description: The content. Mutually exclusive with O(files[].secret).
        type: str
      secret:
        description: The content, which is never shown. Mutually exclusive with O(files[].content).
        type: str
      owner:
        description: Name or number of the owner.
        type: str
        default: root
      group:
        description: Name or number of the group.
        type: str
        default: root
      mode:
        description: Permissions in octal notation.
        type: str
        default: "0644"
      validate:
        description: Command that validates the new content. C(%s) is replaced by its file.
        type: str
  exclusive:
    description:
      - Directories that contain only O(files), at any depth. All other files in them are removed.
    type: list
    elements: path
    default: []
  absent:
    description: Files to remove.
    type: list
    elements: path
    default: []
attributes:
  check_mode:
    description: Can run in check mode, and report the changes without making them.
    support: full
  diff_mode:
    description: Returns the differences, without secrets.
    support: full
author:
  - The Atoll authors (@atoll)
"""

EXAMPLES = r"""
- name: Ensure the configuration is deployed
  atoll.registry.files:
    directories:
      - {path: /etc/atoll/redis, group: atoll, mode: "0750"}
    files:
      - path: /etc/atoll/redis/redis.conf
        content: "{{ lookup('ansible.builtin.template', 'redis.conf.j2') }}"
      - path: /etc/atoll/redis/password
        secret: "{{ redis_password }}"
        owner: atoll
        mode: "0600"
"""

RETURN = r"""
paths:
  description: Paths that were created, written, corrected or removed.
  returned: always
  type: list
  elements: str
"""

import grp
import os
import pwd
import shlex
import stat
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule


class Writer:
    """Brings a host's files to their desired state, and records the differences."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.diff: list[dict[str, str]] = []

    @property
    def check_mode(self) -> bool:
        """Whether no change may be made."""
        return bool(self.module.check_mode)

    def directory(self, wanted: Mapping[str, Any]) -> None:
        """Create a directory, or correct its owner and permissions."""
        path: str = wanted["path"]
        if not os.path.isdir(path):
            self._note(path, "", "a directory\n")
            if self.check_mode:
                return
            os.mkdir(path, 0o700)
            self._own(path, wanted)
        else:
            self._correct(path, wanted)

    def file(self, wanted: Mapping[str, Any]) -> None:
        """Replace a file if its content differs; otherwise correct its owner and permissions."""
        path: str = wanted["path"]
        is_secret = wanted["secret"] is not None
        text: str = wanted["secret"] if is_secret else wanted["content"]
        before = _read(path)
        if before == text:
            self._correct(path, wanted)
            return
        if is_secret:
            self._note(path, "" if before is None else "a secret\n", "another secret\n")
        else:
            self._note(path, before or "", text)
        if not self.check_mode:
            self._replace(path, text, wanted)

    def remove(self, path: str) -> None:
        """Remove a file if it exists."""
        if os.path.lexists(path):
            self._note(path, "a file\n", "")
            if not self.check_mode:
                os.unlink(path)

    def _replace(self, path: str, text: str, wanted: Mapping[str, Any]) -> None:
        handle, temporary = tempfile.mkstemp(prefix=".atoll.", dir=os.path.dirname(path))
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            self._validate(path, temporary, wanted["validate"])
            self._own(temporary, wanted)
            os.replace(temporary, path)
        except BaseException:
            if os.path.lexists(temporary):
                os.unlink(temporary)
            raise

    def _validate(self, path: str, temporary: str, command: str | None) -> None:
        if not command:
            return
        words = [word.replace("%s", temporary) for word in shlex.split(command)]
        code, output, error = self.module.run_command(words)
        if code:
            raise ValueError(
                f"{path} was not changed, because its new content is invalid: {error or output}"
            )

    def _own(self, path: str, wanted: Mapping[str, Any]) -> None:
        os.chown(path, _user(wanted["owner"]), _group(wanted["group"]))
        os.chmod(path, int(wanted["mode"], 8))

    def _correct(self, path: str, wanted: Mapping[str, Any]) -> None:
        """Correct owner and permissions. The modification time is kept, so nothing restarts."""
        owner: int | None
        group: int | None
        try:
            owner, group = _user(wanted["owner"]), _group(wanted["group"])
        except KeyError:
            # An earlier task would have created them.
            if not self.check_mode:
                raise
            owner = group = None
        found = os.stat(path)
        before = (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode))
        after = (owner, group, int(wanted["mode"], 8))
        if before != after:
            self._note(path, _describe(*before), _describe(*after))
            if not self.check_mode:
                self._own(path, wanted)

    def _note(self, path: str, before: str, after: str) -> None:
        self.diff.append(
            {"before_header": path, "after_header": path, "before": before, "after": after}
        )


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return file.read()
    except FileNotFoundError:
        return None


def _user(name: str) -> int:
    return int(name) if name.isdigit() else pwd.getpwnam(name).pw_uid


def _group(name: str) -> int:
    return int(name) if name.isdigit() else grp.getgrnam(name).gr_gid


def _describe(owner: int | None, group: int | None, mode: int) -> str:
    return f"owner {owner}, group {group}, mode {mode:04o}\n"


def obsolete(parameters: Mapping[str, Any]) -> Iterator[str]:
    """Yield the files in exclusive directories that are not among the desired files."""
    wanted = {file["path"] for file in parameters["files"]}
    for top in parameters["exclusive"]:
        for folder, _folders, names in os.walk(top):
            for name in sorted(names):
                if os.path.join(folder, name) not in wanted:
                    yield os.path.join(folder, name)


def specification() -> dict[str, Any]:
    """Return the options of the module."""
    attributes: dict[str, Any] = {
        "path": {"type": "path", "required": True},
        "owner": {"type": "str", "default": "root"},
        "group": {"type": "str", "default": "root"},
    }
    return {
        "directories": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": attributes | {"mode": {"type": "str", "default": "0755"}},
        },
        "files": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": attributes
            | {
                "content": {"type": "str"},
                "secret": {"type": "str", "no_log": True},
                "mode": {"type": "str", "default": "0644"},
                "validate": {"type": "str"},
            },
            "mutually_exclusive": [["content", "secret"]],
            "required_one_of": [["content", "secret"]],
        },
        "exclusive": {"type": "list", "elements": "path", "default": []},
        "absent": {"type": "list", "elements": "path", "default": []},
    }


def main() -> None:
    """Bring all files to their desired state."""
    module = AnsibleModule(argument_spec=specification(), supports_check_mode=True)
    writer = Writer(module)
    try:
        for directory in module.params["directories"]:
            writer.directory(directory)
        for file in module.params["files"]:
            writer.file(file)
        for path in [*obsolete(module.params), *module.params["absent"]]:
            writer.remove(path)
    except (OSError, KeyError, ValueError) as error:
        module.fail_json(msg=f"The files could not be written: {error}")
    paths = [entry["after_header"] for entry in writer.diff]
    module.exit_json(changed=bool(paths), paths=paths, diff=writer.diff)


if __name__ == "__main__":
    main()
