#!/usr/bin/python
"""Ansible module: a systemd service that runs with the files that are in place now."""

from __future__ import annotations

DOCUMENTATION = r"""
module: service
short_description: Keep a systemd service running with the files that are in place now
description:
  - Starts a service, and restarts it when one of the files that it read at its start was written
    since; reloads it when that is enough. It does not matter which run of a playbook wrote the
    file, nor whether that run came to its end; a handler that is lost with a failed run has no
    counterpart here.
  - Waits until the service is up. With C(Notify=healthy) in a Quadlet unit that is until its
    container is healthy.
  - A service that does not come up fails the task with the last lines of its log.
version_added: 0.1.0
options:
  name:
    description: Name of the unit, with its suffix.
    type: str
    required: true
  state:
    description: Whether the service runs.
    type: str
    choices: [started, stopped]
    default: started
  enabled:
    description:
      - Whether the unit starts at boot.
      - Leave this out for units that Quadlet makes; their C([Install]) section says it.
    type: bool
  inputs:
    description: Files, and directories with all below them, that the service reads at its start.
    type: list
    elements: path
    default: []
  reload_inputs:
    description: Files and directories that the service reads again when it is reloaded.
    type: list
    elements: path
    default: []
  inputs_changed:
    description:
      - In check mode nothing is written. Tell here whether an earlier task would have changed an
        input, so that the restart is announced.
    type: bool
    default: false
  reload_inputs_changed:
    description: The same for O(reload_inputs), and for the reload.
    type: bool
    default: false
attributes:
  check_mode:
    description: Tells what it would change, and changes nothing.
    support: full
author:
  - The Atoll authors (@atoll)
"""

EXAMPLES = r"""
- name: Run PostgreSQL
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
  description: What was done (start, restart, reload, stop), or nothing.
  returned: always
  type: str
because:
  description: Why it was done.
  returned: always
  type: str
"""

import os
from datetime import UTC, datetime

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

    def __init__(self, module):
        self.module = module
        self.name = module.params["name"]
        self.read()

    def read(self):
        """Ask systemd anew."""
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
        self.properties = dict(line.split("=", 1) for line in output.splitlines() if "=" in line)

    @property
    def exists(self):
        """Whether systemd knows the unit."""
        return self.properties["LoadState"] not in ("not-found", "masked")

    @property
    def running(self):
        """Whether the unit is up."""
        return self.properties["ActiveState"] in ("active", "reloading")

    @property
    def stopped(self):
        """Whether the unit is down and stays down."""
        return self.properties["ActiveState"] in ("inactive", "failed")

    def since(self, timestamp):
        """Seconds since the epoch of a timestamp property."""
        value = self.properties[timestamp]
        if not value:
            return 0.0
        moment = datetime.strptime(value, "%a %Y-%m-%d %H:%M:%S.%f UTC")
        return moment.replace(tzinfo=UTC).timestamp()

    def systemctl(self, verb, *arguments):
        """Run a command that must succeed; say what the unit logged when it does not."""
        code, _output, error = self.module.run_command(["systemctl", verb, *arguments])
        if code:
            first_line = error.strip().partition("\n")[0]
            self.module.fail_json(
                msg=f"{self.name} did not {verb}: {first_line} "
                f"The last lines of its log are in 'log', all of it is in "
                f"'journalctl -u {self.name}' on this host. "
                "Mend the cause and run the playbook again.",
                log=last_lines(self.module, self.name),
            )


def newest(paths):
    """Return when what lies at or below the paths was last written, and which of it."""
    return max(
        ((os.lstat(path).st_mtime, path) for top in paths for path in _below(top)),
        default=(0.0, ""),
    )


def _below(top):
    if os.path.lexists(top):
        yield top
    for folder, folders, files in os.walk(top):
        yield from (os.path.join(folder, name) for name in folders + files)


def decide(unit, parameters):
    """Return what has to be done, and why."""
    if not unit.running:
        return "start", f"it is {unit.properties['ActiveState']}"
    written, path = newest(parameters["inputs"])
    if written > unit.since("InactiveExitTimestamp"):
        return "restart", f"{path} was written after its start"
    if unit.properties["NeedDaemonReload"] == "yes":
        return "restart", "its unit was written after its start"
    written, path = newest(parameters["reload_inputs"])
    if written > unit.since("StateChangeTimestamp"):
        return "reload", f"{path} was written after it was read"
    if unit.properties.get("ReloadResult", "success") != "success":
        return "reload", "its last reload failed"
    return announce(parameters) if unit.module.check_mode else ("", "")


def announce(parameters):
    """Return what will have to be done when the files are written, and why."""
    if parameters["inputs_changed"]:
        return "restart", "what it reads at its start changes"
    if parameters["reload_inputs_changed"]:
        return "reload", "what it reads again when it is reloaded changes"
    return "", ""


def run(unit, action):
    """Do it, with the unit as it is on disk."""
    unit.systemctl("daemon-reload")
    unit.read()
    if not unit.exists:
        unit.module.fail_json(msg=f"{unit.name} does not exist. {_quadlet_errors(unit.module)}")
    # A unit that waits for its next automatic start is started by `restart` alone.
    unit.systemctl("restart" if action == "start" else action, unit.name)


def _quadlet_errors(module):
    code, _output, error = module.run_command(["/usr/libexec/podman/quadlet", "--dryrun"])
    return f"Quadlet says: {error.strip()}" if code else "No unit file makes it."


def start(unit, module):
    """Bring the unit up; return what was done, why, and whether something changed."""
    action, because = decide(unit, module.params) if unit.exists else ("start", "it does not exist")
    enable = module.params["enabled"] and unit.properties["UnitFileState"] != "enabled"
    if not module.check_mode:
        if action:
            run(unit, action)
        if enable:
            unit.systemctl("enable", unit.name)
    return action, because, bool(action or enable)


def stop(unit, module):
    """Bring the unit down; return what was done, why, and whether something changed."""
    disable = module.params["enabled"] is False and unit.properties["UnitFileState"] == "enabled"
    action = "" if unit.stopped else "stop"
    if not module.check_mode:
        if action:
            unit.systemctl("stop", unit.name)
        if disable:
            unit.systemctl("disable", unit.name)
        if unit.properties["ActiveState"] == "failed":
            unit.systemctl("reset-failed", unit.name)
    return action, "it runs" if action else "", bool(action or disable)


def main():
    """Bring the unit to its wanted state."""
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
