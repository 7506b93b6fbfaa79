#!/usr/bin/python
"""Ansible module: manage a systemd service and restart it if its files changed."""

from __future__ import annotations

DOCUMENTATION = r"""
module: service
short_description: Manage a systemd service and restart it if its files changed
description:
  - Starts a service, restarts it if one of the files that it reads at its start was written since
    then, and reloads it if that is sufficient. In contrast to a handler, which is lost if a run
    fails, this also works if an earlier run of a playbook wrote the file and was interrupted.
  - Waits until the service is active. With C(Notify=healthy) in a Quadlet unit, it waits until the
    container is healthy.
  - If the service does not start, the task fails with the last lines of its log.
version_added: 0.1.0
options:
  name:
    description: Name of the unit, including its suffix.
    type: str
    required: true
  state:
    description: Whether the service is running.
    type: str
    choices: [started, stopped]
    default: started
  enabled:
    description:
      - Whether the unit is started at boot.
      - Omit it for Quadlet units; their C([Install]) section specifies it.
    type: bool
  inputs:
    description: Files, and directories at any depth, that the service reads at its start.
    type: list
    elements: path
    default: []
  reload_inputs:
    description: Files and directories that the service also reads on a reload.
    type: list
    elements: path
    default: []
  inputs_changed:
    description:
      - Whether an earlier task would have changed an input. Used only in check mode, in which no
        file is written, to report the restart.
    type: bool
    default: false
  reload_inputs_changed:
    description: Whether an earlier task would have changed a reload input. Used only in check mode.
    type: bool
    default: false
attributes:
  check_mode:
    description: Can run in check mode, and report the changes without making them.
    support: full
author:
  - The Atoll authors (@atoll)
"""

EXAMPLES = r"""
- name: Ensure PostgreSQL is running
  atoll.registry.service:
    name: atoll-postgres.service
    inputs:
      - /etc/containers/systemd/atoll-postgres.container
      - /etc/atoll/postgres/postgresql.conf
    reload_inputs:
      - /etc/atoll/postgres/tls.crt
"""

RETURN = r"""
action:
  description: The action, which is start, restart, reload, stop or empty.
  returned: always
  type: str
because:
  description: The reason for the action.
  returned: always
  type: str
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timezone
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.atoll.registry.plugins.module_utils.journal import last_lines

PROPERTIES = (
    "ActiveState",
    "InactiveExitTimestamp",
    "LoadState",
    "NeedDaemonReload",
    "ReloadResult",
    "StateChangeTimestamp",
    "UnitFileState",
)


class Unit:
    """A systemd unit, its state and its log."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.name: str = module.params["name"]
        self.read()

    def read(self) -> None:
        """Read the properties of the unit from systemd."""
        code, output, error = self.module.run_command(
            [
                "systemctl",
                "show",
                "--timestamp=us+utc",
                f"--property={','.join(PROPERTIES)}",
                self.name,
            ]
        )
        if code:
            self.module.fail_json(msg=f"systemctl show {self.name} failed: {error.strip()}")
        self.properties: dict[str, str] = dict(
            line.split("=", 1) for line in output.splitlines() if "=" in line
        )

    @property
    def exists(self) -> bool:
        """Whether systemd can load the unit."""
        return self.properties["LoadState"] not in ("not-found", "masked")

    @property
    def running(self) -> bool:
        """Whether the unit is active."""
        return self.properties["ActiveState"] in ("active", "reloading")

    @property
    def stopped(self) -> bool:
        """Whether the unit is inactive and is not restarted automatically."""
        return self.properties["ActiveState"] in ("inactive", "failed")

    def since(self, timestamp: str) -> float:
        """Return a timestamp property in seconds since the epoch; 0 if it is empty."""
        value = self.properties[timestamp]
        if not value:
            return 0.0
        moment = datetime.strptime(value, "%a %Y-%m-%d %H:%M:%S.%f UTC")
        return moment.replace(tzinfo=timezone.utc).timestamp()

    def systemctl(self, verb: str, *arguments: str) -> None:
        """Run systemctl; on failure, fail the task with the log of the unit."""
        code, _output, error = self.module.run_command(["systemctl", verb, *arguments])
        if code:
            first_line = error.strip().partition("\n")[0]
            self.module.fail_json(
                msg=f"{self.name} did not {verb}: {first_line} "
                f"The last lines of its log are in 'log'; 'journalctl -u {self.name}' on this host "
                "prints all of it. "
                "Fix the cause and run the playbook again.",
                log=last_lines(self.module, self.name),
            )


def newest(paths: Iterable[str]) -> tuple[float, str]:
    """Return the latest modification time at or below the paths, and the path that has it."""
    return max(
        ((os.lstat(path).st_mtime, path) for top in paths for path in _below(top)),
        default=(0.0, ""),
    )


def _below(top: str) -> Iterator[str]:
    if os.path.lexists(top):
        yield top
    for folder, folders, files in os.walk(top):
        yield from (os.path.join(folder, name) for name in folders + files)


def decide(unit: Unit, parameters: Mapping[str, Any]) -> tuple[str, str]:
    """Return the required action and its reason."""
    if not unit.running:
        return "start", f"it is {unit.properties['ActiveState']}"
    written, path = newest(parameters["inputs"])
    if written > unit.since("InactiveExitTimestamp"):
        return "restart", f"{path} was written after its start"
    if unit.properties["NeedDaemonReload"] == "yes":
        return "restart", "its unit file was written after its start"
    written, path = newest(parameters["reload_inputs"])
    if written > unit.since("StateChangeTimestamp"):
        return "reload", f"{path} was written after the last reload"
    if unit.properties.get("ReloadResult", "success") != "success":
        return "reload", "its last reload failed"
    return announce(parameters) if unit.module.check_mode else ("", "")


def announce(parameters: Mapping[str, Any]) -> tuple[str, str]:
    """Return the action that is required once the files are written, and its reason."""
    if parameters["inputs_changed"]:
        return "restart", "files that it reads at its start change"
    if parameters["reload_inputs_changed"]:
        return "reload", "files that it reads on a reload change"
    return "", ""


def run(unit: Unit, action: str) -> None:
    """Perform the action after loading the current unit file."""
    unit.systemctl("daemon-reload")
    unit.read()
    if not unit.exists:
        unit.module.fail_json(msg=f"{unit.name} does not exist. {_quadlet_errors(unit.module)}")
    # `start` has no effect on a unit that waits for its automatic restart.
    unit.systemctl("restart" if action == "start" else action, unit.name)


def _quadlet_errors(module: AnsibleModule) -> str:
    code, _output, error = module.run_command(["/usr/libexec/podman/quadlet", "--dryrun"])
    return f"Quadlet reports: {error.strip()}" if code else "There is no file for this unit."


def start(unit: Unit, module: AnsibleModule) -> tuple[str, str, bool]:
    """Ensure the unit is running; return the action, its reason, and whether there was a change."""
    action, because = decide(unit, module.params) if unit.exists else ("start", "it does not exist")
    enable = module.params["enabled"] and unit.properties["UnitFileState"] != "enabled"
    if not module.check_mode:
        if action:
            run(unit, action)
        if enable:
            unit.systemctl("enable", unit.name)
    return action, because, bool(action or enable)


def stop(unit: Unit, module: AnsibleModule) -> tuple[str, str, bool]:
    """Ensure the unit is stopped; return the action, its reason, and whether there was a change."""
    disable = module.params["enabled"] is False and unit.properties["UnitFileState"] == "enabled"
    action = "" if unit.stopped else "stop"
    if not module.check_mode:
        if action:
            unit.systemctl("stop", unit.name)
        if disable:
            unit.systemctl("disable", unit.name)
        if unit.properties["ActiveState"] == "failed":
            unit.systemctl("reset-failed", unit.name)
    return action, "it is running" if action else "", bool(action or disable)


def main() -> None:
    """Bring the unit to the desired state."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["started", "stopped"], "default": "started"},
            "enabled": {"type": "bool"},
            "inputs": {"type": "list", "elements": "path", "default": []},
            "reload_inputs": {"type": "list", "elements": "path", "default": []},
            "inputs_changed": {"type": "bool", "default": False},
            "reload_inputs_changed": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    unit = Unit(module)
    act = start if module.params["state"] == "started" else stop
    action, because, changed = act(unit, module)
    module.exit_json(changed=changed, action=action, because=because)


if __name__ == "__main__":
    main()
