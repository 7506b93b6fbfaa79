#!/usr/bin/python
"""Ansible module: all files of a component, in one go."""

from __future__ import annotations

DOCUMENTATION = r"""
module: files
short_description: Write all files of a component in one go
description:
  - Makes directories, writes files and removes what is left over, in one round trip to the host.
  - A file is replaced as a whole or not at all, and only when its content differs; so the time at
    which it was written tells M(atoll.registry.service) whether a service has read it.
  - A secret is never readable by others, not even for a moment, and never shown, also not with
    C(--diff).
version_added: 0.1.0
options:
  directories:
    description: Directories to make, each after its parent.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The directory.
        type: path
        required: true
      owner:
        description: Its owner.
        type: str
        default: root
      group:
        description: Its group.
        type: str
        default: root
      mode:
        description: Its permissions.
        type: str
        default: "0755"
  files:
    description: Files to write.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The file.
        type: path
        required: true
      content:
        description: Its text. Excludes O(files[].secret).
        type: str
      secret:
        description: Its text that nobody may see. Excludes O(files[].content).
        type: str
      owner:
        description: Its owner.
        type: str
        default: root
      group:
        description: Its group.
        type: str
        default: root
      mode:
        description: Its permissions.
        type: str
        default: "0644"
      validate:
        description: Command that must accept the new text, as a file that C(%s) stands for.
        type: str
  exclusive:
    description: Directories in which, at any depth, only O(files) may lie; other files are removed.
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
    description: Tells what it would change, and changes nothing.
    support: full
  diff_mode:
    description: Shows what changes, but no secret.
    support: full
author:
  - The Atoll authors (@atoll)
"""

EXAMPLES = r"""
- name: Write the configuration
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
  description: What was made, written, corrected or removed.
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

from ansible.module_utils.basic import AnsibleModule


class Writer:
    """Brings a host's files to their wanted state, and notes what differed."""

    def __init__(self, module):
        self.module = module
        self.diff = []

    @property
    def pretend(self):
        """Whether nothing may be written."""
        return self.module.check_mode

    def directory(self, wanted):
        """Make a directory, or mend who may do what with it."""
        path = wanted["path"]
        if not os.path.isdir(path):
            self._note(path, "", "a directory\n")
            if self.pretend:
                return
            os.mkdir(path, 0o700)
            self._own(path, wanted)
        else:
            self._correct(path, wanted)

    def file(self, wanted):
        """Replace a file when its text differs, or mend who may read it."""
        path = wanted["path"]
        is_secret = wanted["secret"] is not None
        text = wanted["secret"] if is_secret else wanted["content"]
        before = _read(path)
        if before == text:
            self._correct(path, wanted)
            return
        if is_secret:
            self._note(path, "" if before is None else "a secret\n", "another secret\n")
        else:
            self._note(path, before or "", text)
        if not self.pretend:
            self._replace(path, text, wanted)

    def remove(self, path):
        """Remove a file if it is there."""
        if os.path.lexists(path):
            self._note(path, "a file\n", "")
            if not self.pretend:
                os.unlink(path)

    def _replace(self, path, text, wanted):
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

    def _validate(self, path, temporary, command):
        if not command:
            return
        words = [word.replace("%s", temporary) for word in shlex.split(command)]
        code, output, error = self.module.run_command(words)
        if code:
            raise ValueError(f"{path} was left as it is, its new text is wrong: {error or output}")

    def _own(self, path, wanted):
        os.chown(path, _user(wanted["owner"]), _group(wanted["group"]))
        os.chmod(path, int(wanted["mode"], 8))

    def _correct(self, path, wanted):
        """Mend owner and permissions. The time of writing stays, so that nothing restarts."""
        try:
            owner, group = _user(wanted["owner"]), _group(wanted["group"])
        except KeyError:
            if not self.pretend:
                raise
            owner = group = None
        found = os.stat(path)
        before = (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode))
        after = (owner, group, int(wanted["mode"], 8))
        if before != after:
            self._note(path, _describe(*before), _describe(*after))
            if not self.pretend:
                self._own(path, wanted)

    def _note(self, path, before, after):
        self.diff.append(
            {"before_header": path, "after_header": path, "before": before, "after": after}
        )


def _read(path):
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return file.read()
    except FileNotFoundError:
        return None


def _user(name):
    return pwd.getpwnam(name).pw_uid


def _group(name):
    return grp.getgrnam(name).gr_gid


def _describe(owner, group, mode):
    return f"owner {owner}, group {group}, mode {mode:04o}\n"


def left_over(parameters):
    """Files below the exclusive directories that nobody asked for."""
    wanted = {file["path"] for file in parameters["files"]}
    for top in parameters["exclusive"]:
        for folder, _folders, names in os.walk(top):
            for name in sorted(names):
                if os.path.join(folder, name) not in wanted:
                    yield os.path.join(folder, name)


def specification():
    """Return the options of the module."""
    attributes = {
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


def main():
    """Bring everything to its wanted state."""
    module = AnsibleModule(argument_spec=specification(), supports_check_mode=True)
    writer = Writer(module)
    try:
        for directory in module.params["directories"]:
            writer.directory(directory)
        for file in module.params["files"]:
            writer.file(file)
        for path in [*left_over(module.params), *module.params["absent"]]:
            writer.remove(path)
    except (OSError, KeyError, ValueError) as error:
        module.fail_json(msg=f"The files could not be written: {error}")
    paths = [entry["after_header"] for entry in writer.diff]
    module.exit_json(changed=bool(paths), paths=paths, diff=writer.diff)


if __name__ == "__main__":
    main()
