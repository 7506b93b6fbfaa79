"""Read the log of a unit."""

from __future__ import annotations

LINES = 30


def last_lines(module, unit):
    """Return what a unit logged last, for a person who has to mend it."""
    # Quadlet names the log of a container after its unit. Podman's own events,
    # which drown it, carry another name.
    names = [unit.rpartition(".")[0], "systemd"]
    _code, output, _error = module.run_command(
        ["journalctl", f"--lines={LINES}", "--no-pager", "--output=cat", "--unit", unit]
        + [f"--identifier={name}" for name in names]
    )
    return [line for line in output.splitlines() if line]
