"""Read the log of a unit."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule

LINES = 30


def last_lines(module: AnsibleModule, unit: str) -> list[str]:
    """Return the last log lines of a unit."""
    # Quadlet names the log of a container after its unit. podman's own events, which would hide
    # it, have another identifier.
    names = [unit.rpartition(".")[0], "systemd"]
    _code, output, _error = module.run_command(
        ["journalctl", f"--lines={LINES}", "--no-pager", "--output=cat", "--unit", unit]
        + [f"--identifier={name}" for name in names]
    )
    return [line for line in output.splitlines() if line]
