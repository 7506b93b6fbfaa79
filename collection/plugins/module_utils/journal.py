"""Read the log of a unit."""

from __future__ import annotations

LINES = 30


def last_lines(module, unit):
    """Return what a unit logged last, for a person who has to mend it."""
    _code, output, _error = module.run_command(
        ["journalctl", f"--lines={LINES}", "--no-pager", "--output=cat", "--unit", unit]
    )
    return [line for line in output.splitlines() if line]
